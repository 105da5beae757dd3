"""The program's frame: its commands, and what holds for all of them.

Invariants: importing this imports no heavy library (a test holds it to that), so commands import what they need when
they run; without a terminal all text is plain.
"""

from typing import Annotated

import typer

from enricher import __version__
from enricher.cli.check import check
from enricher.cli.config import config
from enricher.cli.demo import demo
from enricher.cli.history_service import history_service
from enricher.cli.redrive import EXAMPLES as REDRIVE_EXAMPLES
from enricher.cli.redrive import redrive
from enricher.cli.replay import EXAMPLES as REPLAY_EXAMPLES
from enricher.cli.replay import replay
from enricher.cli.run import run
from enricher.cli.schema import app as schema
from enricher.cli.size import size
from enricher.cli.tail import EXAMPLES as TAIL_EXAMPLES
from enricher.cli.tail import tail
from enricher.cli.test import run_tests
from enricher.cli.verify import EXAMPLES as VERIFY_EXAMPLES
from enricher.cli.verify import verify

app = typer.Typer(
    name="enricher",
    no_args_is_help=True,
    rich_markup_mode=None,  # as a man page: examples can be copied, and options have room at 80 columns
    pretty_exceptions_enable=False,  # a crash's traceback with local variables could show customers' data
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001  typer passes an option's value by position
    if asked:
        typer.echo(f"enricher {__version__}")
        raise typer.Exit


@app.callback()
def enricher(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Enrich customer-contact events on Kafka with each customer's offer history.

    Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 check or verify found something wrong.

    Example: enricher run --config enricher.yaml
    """


app.command()(run)
app.command()(demo)
app.command()(check)
app.command(epilog=TAIL_EXAMPLES)(tail)
app.command(epilog=VERIFY_EXAMPLES)(verify)
app.command(epilog=REDRIVE_EXAMPLES)(redrive)
app.command(epilog=REPLAY_EXAMPLES)(replay)
app.command()(config)
app.command()(size)
app.command("test")(run_tests)
app.add_typer(schema, name="schema")
app.command("history-service", epilog="Example: enricher history-service --port 8089 --latency 20ms --status 503=0.01")(
    history_service
)
