"""Findings about schemas, a line each: whole where a program reads them, between words on a terminal."""

from collections.abc import Iterable


def print_lines(lines: Iterable[str], indent: str) -> None:
    """Print lines; what does not fit a terminal goes on behind the indent."""
    from rich.console import Console  # noqa: PLC0415  `--help` does without it

    from enricher.cli.rendering import paragraph  # noqa: PLC0415

    console = Console()
    for line in lines:
        paragraph(console, line, indent)
