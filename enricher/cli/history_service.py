"""``enricher history-service``: the history service for development, tests and demos, until it is told to stop."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from enricher.testing.faults import Faults
    from enricher.testing.histories import Histories
    from enricher.testing.history_service import HistoryServer

_PATH = "/prweb/PRRestService/PegaMKTContainer/V2/CustomerOfferHistory"


def history_service(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the service; 0 for any free one.", min=0, max=65535)] = 8089,
    admin_port: Annotated[
        int | None,
        typer.Option(help="Port of /faults, /stats and /health.", show_default="port + 1", min=0, max=65535),
    ] = None,
    path: Annotated[str, typer.Option(help="Path of the service.")] = _PATH,
    histories: Annotated[
        Path | None,
        typer.Option(
            help='JSON lines to serve: {"CustomerID": "...", "OfferHistory": [...]}. Else histories are generated.',
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    offers: Annotated[str, typer.Option(help="Offers of a generated history: 10, or a range, 0-40.")] = "10",
    unknown_rate: Annotated[float, typer.Option(help="Share of customers with an empty history.", min=0, max=1)] = 0.0,
    bundle_rate: Annotated[float, typer.Option(help="Share of customers with a bundle record.", min=0, max=1)] = 0.1,
    latency: Annotated[
        str | None,
        typer.Option(help="20ms, uniform:10ms,30ms, normal:20ms,5ms or lognormal:20ms,0.5 (median, sigma)."),
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Share of requests that get a status: 503=0.01. May be repeated.")
    ] = None,
    retry_after: Annotated[
        str | None, typer.Option(help="Retry-After of those: seconds (5), or a date so far ahead (date:5s).")
    ] = None,
    capacity: Annotated[int | None, typer.Option(help="Requests served at once; more of them wait.", min=1)] = None,
    faults: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of faults, as PUT /faults takes it; the options win.", exists=True, dir_okay=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the generated histories and the random faults.")] = 0,
    indent: Annotated[bool, typer.Option("--indent", help="Write JSON as the documentation's sample has it.")] = False,
    count_customers: Annotated[int, typer.Option(help="How many customers /stats counts one by one.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> None:
    """Serve the CustomerOfferHistory contract over HTTP, with faults on request.

    The faults can be changed while it runs: PUT them to /faults as JSON. It runs until SIGTERM or SIGINT.
    """
    import asyncio  # noqa: PLC0415  likewise below: what a command imports, the others need not wait for

    from enricher.testing.history_service import HistoryServer  # noqa: PLC0415

    try:
        scripted = _faults(faults, latency, status or [], retry_after, capacity, seed)
        served = _histories(histories, offers, unknown_rate, bundle_rate, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not path.startswith("/"):
        raise typer.BadParameter("the path must begin with /", param_hint="--path")
    if admin_port is None:
        admin_port = port + 1 if 0 < port < 65535 else 0  # noqa: PLR2004  the last port
    server = HistoryServer(
        served,
        scripted,
        host=host,
        port=port,
        admin_port=admin_port,
        path=path,
        indent=indent,
        count_customers=count_customers,
    )
    try:
        import uvloop  # noqa: PLC0415

        new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ImportError:  # where it does not exist: Windows, PyPy
        new_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        try:
            runner.run(_serve(server, as_json=as_json))
        except OSError as error:
            typer.echo(f"cannot listen on {host}, ports {port} and {admin_port}: {error.strerror}", err=True)
            raise typer.Exit(1) from error


async def _serve(server: "HistoryServer", *, as_json: bool) -> None:
    import asyncio  # noqa: PLC0415
    import signal  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await server.start()
    if as_json:
        typer.echo(msgspec.json.encode({"url": server.url, "admin": server.admin_url}))
    else:
        typer.echo(f"CustomerOfferHistory: {server.url}")
        typer.echo(f'Change the faults:    curl -X PUT {server.admin_url}/faults -d \'{{"latency": "500ms"}}\'')
        typer.echo(f"See what it did:      curl {server.admin_url}/stats")
    await stopped.wait()
    await server.close(grace=1.0)


def _faults(
    path: Path | None, latency: str | None, status: list[str], retry_after: str | None, capacity: int | None, seed: int
) -> "Faults":
    """The file's faults, and the options on top.

    Raises:
        ValueError: they make no sense.
    """
    import msgspec  # noqa: PLC0415

    from enricher.testing.faults import Faults  # noqa: PLC0415

    scripted = Faults()
    if path is not None:
        try:
            scripted = Faults.from_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    changes: dict[str, Any] = {"latency": latency, "retry_after": retry_after, "capacity": capacity}
    changes["seed"] = seed or None
    if status:
        changes["status"] = dict(_rate(text) for text in status)
    return msgspec.structs.replace(scripted, **{name: value for name, value in changes.items() if value is not None})


def _rate(text: str) -> tuple[str, float]:
    status, equals, rate = text.partition("=")
    try:
        if equals:
            return status.strip(), float(rate)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not a rate of a status: write 503=0.01")


def _histories(path: Path | None, offers: str, unknown_rate: float, bundle_rate: float, seed: int) -> "Histories":
    """The file's histories, or generated ones.

    Raises:
        ValueError: the file or an option makes no sense.
    """
    from enricher.testing.histories import FixedHistories, GeneratedHistories  # noqa: PLC0415

    if path is not None:
        return FixedHistories.load(path)
    least, dash, most = offers.partition("-")
    if not least.isdigit() or (dash and not most.isdigit()):
        raise ValueError(f"{offers!r} is not a number of offers: write 10, or a range, 0-40")
    span = (int(least), int(most) if dash else int(least))
    return GeneratedHistories(offers=span, unknown_rate=unknown_rate, bundle_rate=bundle_rate, seed=seed)
