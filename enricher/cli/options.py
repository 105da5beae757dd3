"""What the commands share: options of one name and meaning, and how mistakes are told.

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 ``check`` or ``verify`` found something wrong. Imports
nothing heavy, so that ``--help`` comes at once.
"""

import json
import os
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from enricher.config import ConfigError, Loaded

FAILED = 1
MISUSED = 2
FOUND_WRONG = 3

_LONGEST_VALUE = 200

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML file of settings. [env var: ENRICHER_CONFIG]"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as service.timeout=2s. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]


def load_settings_or_exit(
    config: Path | None,
    overrides: list[str] | None,
    *,
    as_json: bool = False,
    unneeded: Mapping[str, str] | None = None,
) -> "Loaded":
    """The settings from file, environment and command line.

    Args:
        config: the file, if one was named.
        overrides: ``NAME=VALUE`` each.
        as_json: print mistakes as JSON to stdout rather than as text to stderr.
        unneeded: settings that a worker must have and this command does without, with any values.

    Raises:
        typer.Exit: with 2, when every mistake has been printed.
    """
    from enricher.config import ConfigError, load  # noqa: PLC0415  pydantic is slow to import
    from enricher.config.sources import Source  # noqa: PLC0415

    beneath = Source()
    for name, value in (unneeded or {}).items():
        beneath.add(name, value, "unneeded")
    try:
        return load(config, os.environ, overrides or (), beneath=[beneath])
    except ConfigError as error:
        tell_problems(error, as_json=as_json)
        raise typer.Exit(MISUSED) from None


def tell_problems(error: "ConfigError", *, as_json: bool, what: str = "the configuration is refused") -> None:
    """Print every mistake: as JSON to stdout, or as text to stderr. ``what`` comes first."""
    if as_json:
        typer.echo(json.dumps({"error": "configuration", "problems": [p.to_json() for p in error.problems]}))
    else:
        typer.echo(describe_problems(error, what), err=True)


def refuse(command: str, message: str, code: int = MISUSED, *, as_json: bool) -> NoReturn:
    """Tell what is wrong, to stderr or as JSON to stdout, and end with the code."""
    if as_json:
        typer.echo(json.dumps({"error": message}))
    else:
        typer.echo(f"enricher {command}: {message}", err=True)
    raise typer.Exit(code)


def describe_problems(error: "ConfigError", what: str = "the configuration is refused") -> str:
    """Every mistake as text for a person, as wide as the terminal."""
    width = max(40, shutil.get_terminal_size((80, 24)).columns)
    count = len(error.problems)
    reasons = f", for {count} reasons" if count > 1 else ""
    lines = [f"enricher: {what}{reasons}:", ""]
    for problem in error.problems:
        value = "" if problem.value is None else f" = {_cut(problem.value)}"
        lines.append(f"- {problem.name}{value} ({problem.origin})")
        text = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        indent = "    "
        lines += textwrap.wrap(
            text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    return "\n".join(lines)


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]} ..."
