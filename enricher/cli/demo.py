"""``enricher demo``: the whole job on one machine, with nothing to install and nothing to configure.

An embedded broker (or a real one), the history service with some faults, a few thousand contacts of which some are
broken, and the worker itself, as ``enricher run`` runs it. Afterwards every event is looked for in the output and the
dead letters; only if each is found exactly where it belongs, the demo has succeeded.
"""

from typing import Annotated

import typer

from enricher.cli.options import Json


def demo(
    *,
    kafka: Annotated[
        str | None, typer.Option(help="Brokers to use, host:port; an embedded one if left out. Topics are created.")
    ] = None,
    events: Annotated[int, typer.Option(help="Contact events to process.", min=1)] = 5_000,
    customers: Annotated[int, typer.Option(help="Different customers.", min=1)] = 1_000,
    broken: Annotated[float, typer.Option(help="Share of broken events.", min=0, max=1)] = 0.01,
    latency: Annotated[str, typer.Option(help="The service's latency.")] = "lognormal:20ms,0.4",
    failing: Annotated[float, typer.Option(help="Share of requests answered 503.", min=0, max=1)] = 0.01,
    max_in_flight: Annotated[int, typer.Option(help="Look-ups at a time.", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="Same seed, same events.")] = 1,
    timeout: Annotated[float, typer.Option(help="Give up after this many seconds.", min=1)] = 75.0,
    as_json: Json = False,
) -> None:
    """Show the whole job on one machine.

    Runs the worker on an embedded broker and history service, with some faults and some broken events, and accounts
    for every event.

    Example: enricher demo --events 20000 --kafka localhost:9092
    """
    from enricher.cli.compose import run_until_signal  # noqa: PLC0415  half a second that `--help` does without
    from enricher.cli.demonstration import Demonstration, Plan  # noqa: PLC0415

    plan = Plan(kafka, events, customers, broken, latency, failing, max_in_flight, seed, timeout)
    demonstration = Demonstration(plan, as_json=as_json)
    if not run_until_signal(demonstration.run):
        raise typer.Exit(1)
