"""``enricher check``: does everything that the worker needs answer, and is it as it should be?"""

from typing import TYPE_CHECKING, Annotated

import typer

from enricher.cli.options import FOUND_WRONG, ConfigFile, Json, Overrides, load_settings_or_exit

if TYPE_CHECKING:
    from enricher.cli.finding import Finding


def check(
    config: ConfigFile = None,
    overrides: Overrides = None,
    *,
    customer: Annotated[
        str, typer.Option(help="Customer to ask the service for; any id does, an unknown one too.")
    ] = "ENRICHER-CHECK",
    timeout: Annotated[float, typer.Option(help="Seconds for the brokers to answer.", min=0.1)] = 10.0,
    as_json: Json = False,
) -> None:
    """Check settings, brokers, topics and service.

    Connects to all of them, and tells everything that is wrong and how to right it. Nothing is written, and the
    worker's group is left alone; one request goes to the service. Exit code 3 when something is wrong.

    Example: enricher check --config enricher.yaml
    """
    settings = load_settings_or_exit(config, overrides, as_json=as_json).settings
    import asyncio  # noqa: PLC0415  `--help` does without these

    from enricher.cli.checks import check_all  # noqa: PLC0415
    from enricher.logs import configure  # noqa: PLC0415

    configure(settings.logging.model_copy(update={"level": "error"}))
    findings = asyncio.run(check_all(settings, customer, timeout))
    wrong = sum(not finding.ok for finding in findings)
    if as_json:
        import json  # noqa: PLC0415

        typer.echo(json.dumps({"ok": not wrong, "findings": [finding._asdict() for finding in findings]}))
    else:
        _print(findings)
    if wrong:
        raise typer.Exit(FOUND_WRONG)


def _print(findings: "list[Finding]") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for finding in findings:
        mark = ("[ok]", "green") if finding.ok else ("[wrong]", "bold red")
        message, *more = finding.message.splitlines()
        console.print(Text.assemble(mark, " ", (finding.what, "bold"), ": ", message))
        for line in (*more, finding.remedy):
            if line:
                console.print(Padding(Text(line), (0, 0, 0, 4)))
