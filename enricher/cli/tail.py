"""``enricher tail``: enriched events from the output topic, decoded for people or programs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from enricher.cli.options import FAILED, MISUSED, ConfigFile, Json, Overrides, load_settings_or_exit, tell_problems

if TYPE_CHECKING:
    from enricher.cli.reading import Bounds
    from enricher.codec import OutputReader
    from enricher.model import Record


def tail(
    topic: Annotated[str | None, typer.Argument(help="Topic to read; the setting output.topic if left out.")] = None,
    *,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option("--bootstrap-servers", "-b", help="Brokers, host:port. With TOPIC, no settings are needed."),
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", help="The newest events to show; 0 for none.", min=0)] = 10,
    all_events: Annotated[bool, typer.Option("--all", help="From the beginning of the topic.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events until stopped.")] = False,
    offers: Annotated[int, typer.Option(help="Offers to show of each event.", min=0)] = 5,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show enriched events, decoded. With --json, one event a line.

    Ends after the events that are there now, unless --follow is given.

    Examples: enricher tail --config enricher.yaml -n 3

    enricher tail enriched --bootstrap-servers localhost:9092 --follow --json
    """
    kafka: dict[str, Any]
    settings = None
    if topic is not None and bootstrap_servers is not None and config is None and not overrides:
        kafka = {"bootstrap.servers": bootstrap_servers}
    else:
        settings = load_settings_or_exit(config, overrides, as_json=as_json).settings
        kafka = settings.kafka.client_properties()
        if bootstrap_servers is not None:
            kafka["bootstrap.servers"] = bootstrap_servers
        topic = topic or settings.output.topic

    import signal  # noqa: PLC0415  `--help` does without these

    from confluent_kafka import KafkaException  # noqa: PLC0415

    from enricher.cli.codecs import output_reader  # noqa: PLC0415
    from enricher.cli.reading import TopicMissing, TopicReader  # noqa: PLC0415
    from enricher.config import ConfigError  # noqa: PLC0415
    from enricher.registry import RegistryError  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to stop is how a --follow ends, not a failure
    try:
        with output_reader(settings) as outputs, TopicReader(kafka, topic) as reader:
            show = _Json(outputs) if as_json else _Text(outputs, offers)
            bounds = reader.bounds()
            starts = {partition: at.low for partition, at in bounds.items()} if all_events else _newest(bounds, last)
            ends = None if follow else {partition: at.high for partition, at in bounds.items()}
            window = None if all_events or follow else last
            records = (record for record in reader.read(starts, ends) if record is not None)
            for record in _latest(records, window) if window is not None else records:
                show(record)
    except TopicMissing as error:
        typer.echo(f"enricher tail: {error} in {kafka['bootstrap.servers']}", err=True)
        raise typer.Exit(MISUSED) from None
    except KafkaException as error:
        typer.echo(f"enricher tail: {kafka['bootstrap.servers']}: {error.args[0].str()}", err=True)
        raise typer.Exit(FAILED) from None
    except ConfigError as error:
        tell_problems(error, as_json=False)
        raise typer.Exit(MISUSED) from None
    except RegistryError as error:
        typer.echo(f"enricher tail: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        return


def _newest(bounds: "dict[int, Bounds]", last: int) -> dict[int, int]:
    """Where to begin, so that the newest ``last`` records of each partition are read."""
    return {partition: max(at.low, at.high - last) for partition, at in bounds.items()}


def _latest(records: Any, last: int) -> "list[Record]":
    """The newest of all partitions together, by timestamp."""
    from heapq import nlargest  # noqa: PLC0415

    newest = nlargest(last, records, key=lambda record: (record.timestamp, record.partition, record.offset))
    return sorted(newest, key=lambda record: (record.timestamp, record.partition, record.offset))


class _Json:
    """One JSON object a line; what cannot be decoded is told on standard error."""

    def __init__(self, outputs: "OutputReader") -> None:
        self._outputs = outputs

    def __call__(self, record: "Record") -> None:
        import msgspec  # noqa: PLC0415

        try:
            typer.echo(msgspec.json.encode(self._outputs.decode(record.value, record.headers)).decode())
        except ValueError as error:
            _undecodable(record, error)


class _Text:
    """A few lines an event."""

    def __init__(self, outputs: "OutputReader", offers: int) -> None:
        from rich.console import Console  # noqa: PLC0415

        self._console = Console(highlight=False, soft_wrap=False)
        self._outputs = outputs
        self._offers = offers

    def __call__(self, record: "Record") -> None:
        from enricher.cli.rendering import enriched_lines  # noqa: PLC0415

        try:
            enriched = self._outputs.decode(record.value, record.headers)
        except ValueError as error:
            _undecodable(record, error)
            return
        for line in enriched_lines(enriched, self._offers):
            self._console.print(line, overflow="ellipsis", no_wrap=self._console.is_terminal)
        self._console.print()


def _undecodable(record: "Record", error: ValueError) -> None:
    typer.echo(f"{record.topic}[{record.partition}]@{record.offset} is no enriched event: {error}", err=True)
