"""``enricher size``: what a rate takes, and what that asks of Kafka and of the service."""

import json
import re
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from enricher.cli.options import FAILED, Json
from enricher.sizing import CPU_PER_EVENT, Demand, Order, Plan, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kM]?)/(s|m|min|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000}
_DEFAULT = Demand(rate=1, latency=1)


def size(
    *,
    rate: Annotated[str, typer.Option(help="Events at the peak, such as 20000/s, 1.2M/min, 50M/d.")],
    latency: Annotated[str, typer.Option(help="Mean latency of one look-up under that load, such as 50ms.")],
    lookups: Annotated[
        float,
        typer.Option(
            help="Look-ups per event; above 1 if some are tried again, below it if events share some.", min=0, max=100
        ),
    ] = _DEFAULT.lookups,
    headroom: Annotated[
        float, typer.Option(help="Share of the capacity to keep free.", min=0, max=0.9)
    ] = _DEFAULT.headroom,
    spare: Annotated[int, typer.Option(help="Replicas that may be away.", min=0, max=1_000)] = _DEFAULT.spare,
    cpu: Annotated[str, typer.Option(help="CPU per event; measure yours.")] = f"{CPU_PER_EVENT * 1e3:g}ms",
    max_in_flight: Annotated[
        int, typer.Option(help="Most look-ups in flight of one replica.", min=1)
    ] = _DEFAULT.max_in_flight,
    order: Annotated[str, typer.Option(help="delivery.order: key, partition or none.")] = _DEFAULT.order,
    hottest: Annotated[
        float, typer.Option(help="Share of all events that the busiest key has.", min=0, max=1)
    ] = _DEFAULT.hottest,
    partitions: Annotated[int | None, typer.Option(help="Partitions of the input, if they are given.", min=1)] = None,
    service_at_once: Annotated[
        int | None, typer.Option(help="Look-ups that the service answers at once, if known.", min=1)
    ] = None,
    group_size: Annotated[int, typer.Option(help="Most replicas in one group.", min=1)] = _DEFAULT.group_size,
    input_size: Annotated[str, typer.Option(help="Bytes of an input record.")] = f"{_DEFAULT.input_bytes}B",
    output_size: Annotated[str, typer.Option(help="Bytes of an output record.")] = f"{_DEFAULT.output_bytes}B",
    answer_size: Annotated[str, typer.Option(help="Bytes of an answer of the service.")] = f"{_DEFAULT.answer_bytes}B",
    replication: Annotated[
        int, typer.Option(help="Copies that Kafka keeps of a record.", min=1, max=100)
    ] = _DEFAULT.replication,
    readers: Annotated[int, typer.Option(help="Groups that read the output.", min=0)] = _DEFAULT.readers,
    broker_throughput: Annotated[
        str, typer.Option(help="Bytes a second that one broker writes or sends at the most.")
    ] = f"{_DEFAULT.broker_bytes / 1e6:.0f}MB",
    as_json: Json = False,
) -> None:
    """Compute how many replicas, partitions and look-ups in flight a rate takes.

    And what they ask of Kafka and of the service. It is arithmetic on what you give it: docs/sizing.md has the
    formulas, and tells which numbers were measured. Exit code 1: it does not work, and the output says why.

    Example: enricher size --rate 20000/s --latency 50ms
    """
    from enricher.config.units import parse_duration, parse_size  # noqa: PLC0415  pydantic is slow to import

    if order not in {"key", "partition", "none"}:
        raise typer.BadParameter("must be key, partition or none", param_hint="--order")
    chosen: Order = order  # type: ignore[assignment]  # checked above
    demand = Demand(
        rate=_rate(rate),
        latency=_parsed("--latency", latency, parse_duration),
        lookups=lookups,
        headroom=headroom,
        spare=spare,
        cpu=_parsed("--cpu", cpu, parse_duration),
        max_in_flight=max_in_flight,
        order=chosen,
        hottest=hottest,
        partitions=partitions,
        service_at_once=service_at_once,
        group_size=group_size,
        input_bytes=_parsed("--input-size", input_size, parse_size),
        output_bytes=_parsed("--output-size", output_size, parse_size),
        answer_bytes=_parsed("--answer-size", answer_size, parse_size),
        replication=replication,
        readers=readers,
        broker_bytes=_parsed("--broker-throughput", broker_throughput, parse_size),
    )
    made = plan(demand)
    if as_json:
        from dataclasses import asdict  # noqa: PLC0415  its caller alone needs it

        typer.echo(json.dumps({"demand": asdict(demand), "plan": asdict(made)}, indent=2))
    else:
        for title, rows in _shown(demand, made):
            typer.secho(title, bold=True)
            for name, value, note in rows:
                typer.echo(f"  {name:<22} {value:>18}  {note}".rstrip())
    for shortfall in made.shortfalls:
        typer.echo(f"enricher size: {shortfall}", err=True)
    if made.shortfalls:
        raise typer.Exit(FAILED)


def _rate(text: str) -> float:
    """Events a second."""
    right = "write a number and /s, /min, /h or /d, such as 20000/s, 20k/s or 1.2M/min"
    found = _RATE.fullmatch(text.strip().replace(",", "").replace("_", ""))
    rate = float(found[1]) * _FACTORS[found[2]] / _SECONDS[found[3]] if found else 0.0
    if not 0 < rate <= 1e9:  # noqa: PLR2004  events a second that nobody has
        raise typer.BadParameter(f"{text!r} is no rate; {right}", param_hint="--rate")
    return rate


def _parsed(option: str, text: str, parse: "Callable[[str], T]") -> "T":
    from pydantic_core import PydanticCustomError  # noqa: PLC0415  as above

    try:
        return parse(text)
    except PydanticCustomError as error:
        context = error.context or {}
        hint = f"; {context['hint']}" if context.get("hint") else ""
        raise typer.BadParameter(f"{text!r} {context.get('message')}{hint}", param_hint=option) from None


def _shown(demand: Demand, made: Plan) -> "Iterator[tuple[str, list[tuple[str, str, str]]]]":
    """The plan for people: sections of name, value and explanation."""
    reasons = f"{made.replicas_for_cpu:,} for CPU, {made.replicas_for_in_flight:,} for look-ups in flight"
    spare = f", {demand.spare} spare" if demand.spare else ""
    each = made.partitions / made.replicas
    workers = [
        ("replicas", f"{made.replicas:,}", f"{reasons}{spare}"),
        ("service.max_in_flight", f"{made.max_in_flight:,}", "of each replica"),
        ("partitions", f"{made.partitions:,}", f"of the input, {each:.3g} a replica"),
        ("capacity", _per_second(made.capacity, "events"), f"{made.utilisation:.0%} of it in use"),
    ]
    if made.groups > 1:
        row = f"{made.replicas // made.groups:,} replicas and topics of its own each"
        workers.insert(1, ("groups", f"{made.groups:,}", row))
    if made.catch_up is not None:
        workers.append(("catching up", f"{made.catch_up * 60:,.0f} min", "after an hour without work"))
    if made.key_rate is not None:
        what = "partition" if demand.order == "partition" else "key"
        workers.append((f"one {what}", f"{made.key_rate:,.1f} events/s", "at the most: its events wait for each other"))
    yield "workers", workers
    yield (
        "history service",
        [
            ("look-ups", f"{made.service_rate:,.0f}/s", f"{demand.lookups:g} for each event"),
            ("in flight", f"{made.service_in_flight:,.0f}", "on average: rate x latency"),
            (
                "in flight",
                f"{made.service_most:,}",
                "at the most: replicas x service.max_in_flight; it has to bear them",
            ),
            ("answers", _bytes(made.service_bytes), f"{demand.answer_bytes:,} bytes each"),
        ],
    )
    yield (
        "Kafka",
        [
            ("workers read", _bytes(made.read), f"{demand.input_bytes:,} bytes a record"),
            ("workers write", _bytes(made.written), f"{demand.output_bytes:,} bytes a record"),
            ("brokers write", _bytes(made.broker_writes), f"input and output, {demand.replication} copies"),
            ("brokers send", _bytes(made.broker_sends), f"to workers, {demand.readers} reading groups, each other"),
            ("brokers", f"{made.brokers:,}", f"at {_bytes(demand.broker_bytes)} each"),
        ],
    )


def _per_second(value: float, what: str) -> str:
    return f"{value:,.0f} {what}/s"


def _bytes(value: float) -> str:
    return f"{value / 1e6:,.1f} MB/s"
