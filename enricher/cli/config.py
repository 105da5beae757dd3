"""``enricher config``: the effective settings and where each comes from, their JSON Schema, their documentation."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from enricher.cli.options import ConfigFile, Json, Overrides, load_settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enricher.config.document import Row

_WIDEST_COLUMN = 32


def config(
    config_file: ConfigFile = None,
    overrides: Overrides = None,
    *,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the settings' file.")] = False,
    docs: Annotated[bool, typer.Option("--docs", help="Print the documentation of all settings, as Markdown.")] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print the documentation of all metrics, as Markdown.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the effective settings, each with the source that it comes from. Secrets are masked.

    Example: enricher config --config enricher.yaml --set service.timeout=2s
    """
    if schema + docs + metrics > 1:
        raise typer.BadParameter("choose one of --schema, --docs and --metrics")
    if metrics:
        from enricher.observability.document import markdown as metrics_markdown  # noqa: PLC0415  slow to import

        typer.echo(metrics_markdown(), nl=False)
        return
    if schema or docs:
        from enricher.config.document import json_schema, markdown  # noqa: PLC0415  pydantic is slow to import

        typer.echo(json.dumps(json_schema(), indent=2) if schema else markdown(), nl=schema)
        return
    loaded = load_settings_or_exit(config_file, overrides, as_json=as_json)
    from enricher.config.document import rows  # noqa: PLC0415  as above

    effective = rows(loaded)
    if as_json:
        typer.echo(json.dumps({row.name: {"value": row.value, "source": row.origin} for row in effective}, indent=2))
    elif sys.stdout.isatty():
        _print_table(effective)
    else:
        _print_plain(effective)


def _print_plain(effective: "Sequence[Row]") -> None:
    names = max(len(row.name) for row in effective)
    values = min(_WIDEST_COLUMN, max(len(row.text) for row in effective))  # one long URL should not widen them all
    for row in effective:
        typer.echo(f"{row.name:<{names}}  {row.text:<{values}}  {row.origin}".rstrip())


def _print_table(effective: "Sequence[Row]") -> None:
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from enricher.config import DEFAULT  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Setting", no_wrap=True)
    table.add_column("Value", overflow="fold")
    table.add_column("Source", overflow="fold")
    for row in effective:
        style = "dim" if row.origin == DEFAULT else ""
        table.add_row(*(Text(text, style=style) for text in (row.name, row.text, row.origin)))
    Console().print(table)
