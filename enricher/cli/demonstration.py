"""What ``enricher demo`` does: set up, run the worker with live progress, account for every event, show the result.

Invariants: success means that every event is in the output or in the dead letters, exactly once each way that it
should be; whatever happens, the worker is drained and the embedded parts are stopped.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias
from uuid import uuid4

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar

from enricher.cli.compose import build_pipeline
from enricher.cli.reading import TopicMissing, read_all
from enricher.cli.rendering import enriched_lines, milliseconds, two_columns
from enricher.cli.service import build_client
from enricher.codec import decode_enriched
from enricher.config import Settings, load
from enricher.deadletter import parse_dead_letter
from enricher.logs import configure
from enricher.model import Enriched, Record
from enricher.stats import Histogram, Stats
from enricher.testing.broker import EmbeddedBroker
from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from enricher.testing.history_service import HistoryServer

Place: TypeAlias = tuple[int, int]

PARTITIONS = 4
EXAMPLES = 3
QUANTILES = (50, 95, 99)
REFRESH = 0.2
PLAIN_REFRESH = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to demonstrate; see the options of ``enricher demo``."""

    kafka: str | None
    events: int
    customers: int
    broken: float
    latency: str
    failing: float
    max_in_flight: int
    seed: int
    timeout: float


@dataclass(slots=True)
class Account:
    """Where the events are, after the run. Each is known by its place in the input: partition and offset."""

    produced: dict[Place, str | None] = field(default_factory=dict)  # what is wrong with it
    outputs: Counter[Place] = field(default_factory=Counter)
    dead: Counter[Place] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    examples: list[Enriched] = field(default_factory=list)
    out_of_order: int = 0
    _last: dict[bytes | None, Place] = field(default_factory=dict)

    def note(self, broken: str | None, error: KafkaError | None, message: Message) -> None:
        """An event was produced."""
        if error is None:
            self.produced[message.partition() or 0, message.offset() or 0] = broken

    def found(self, record: Record, enriched: Enriched) -> None:
        """An output was found; those of one key are found in the order of the output topic."""
        place = (enriched.enrichment.partition, enriched.enrichment.offset)
        self.outputs[place] += 1
        if place < self._last.get(record.key, place):
            self.out_of_order += 1
        self._last[record.key] = place
        if len(self.examples) < EXAMPLES and len(enriched.offer_history.offers) > 1:
            self.examples.append(enriched)

    def found_dead(self, record: Record) -> None:
        """A dead letter was found."""
        cause = parse_dead_letter(record.headers)
        if cause is not None:
            self.dead[cause.partition, cause.offset] += 1
            self.causes[cause.cause] += 1

    def complaints(self) -> list[str]:
        """What is wrong, in words; nothing where all is as it should be."""
        everywhere = self.outputs + self.dead
        wrong = [
            (sum(place not in everywhere for place in self.produced), "events are missing"),
            (sum(count > 1 for count in everywhere.values()), "events came out more than once"),
            (sum(place not in self.produced for place in everywhere), "unknown events came out"),
            (sum(self.produced.get(place) is None for place in self.dead), "good events were refused"),
            (sum(self.produced.get(place) is not None for place in self.outputs), "broken events were enriched"),
            (self.out_of_order, "events came out before older ones of their key"),
        ]
        return [f"{count} {what}" for count, what in wrong if count]


class Demonstration:
    """One run of the demo."""

    def __init__(self, plan: Plan, *, as_json: bool) -> None:
        self._plan = plan
        self._as_json = as_json
        self._console = Console(stderr=as_json, highlight=False)
        self._live = self._console.is_terminal and not as_json
        self._stats = Stats()
        self._account = Account()
        self._begun: float | None = None  # when the worker had joined its group and got its first records

    async def run(self, stop: asyncio.Event) -> bool:
        """Demonstrate. True if every event is accounted for; ``stop`` ends it early."""
        plan, say = self._plan, self._console.print
        async with AsyncExitStack() as stack:
            brokers = plan.kafka or stack.enter_context(EmbeddedBroker()).bootstrap_servers
            faults = Faults(latency=plan.latency, status={"503": plan.failing})
            service = await stack.enter_async_context(HistoryServer(faults=faults))
            settings = self._settings(brokers, service.url)
            configure(settings.logging)
            kind = "Kafka at" if plan.kafka else "embedded broker at"
            say(f"[bold]enricher demo[/bold]: {kind} {brokers}, history service at {service.base_url}", soft_wrap=True)
            if plan.kafka:
                await asyncio.to_thread(_create_topics, settings)
            await asyncio.to_thread(self._produce, settings)
            broken = sum(bad is not None for bad in self._account.produced.values())
            say(f"produced {plan.events:,} contact events of {plan.customers:,} customers, {broken} of them broken\n")
            started = time.monotonic()
            async with self._worker(settings):
                in_time = await self._watch(started, stop)
                seconds = time.monotonic() - (self._begun or started)
            await asyncio.to_thread(self._audit, settings)
        complaints = self._account.complaints()
        if not in_time:
            complaints.insert(0, "stopped early" if stop.is_set() else f"not done after {plan.timeout:g} s")
        self._report(seconds, complaints)
        return not complaints

    def _settings(self, brokers: str, url: str) -> Settings:
        run = uuid4().hex[:6]
        sets = {
            "kafka.bootstrap_servers": brokers,
            "kafka.group_id": f"enricher-demo-{run}",
            "input.topics": f"demo-{run}-contacts",
            "output.topic": f"demo-{run}-enriched",
            "service.url": url,
            "service.max_in_flight": str(self._plan.max_in_flight),
            "delivery.commit_interval": "500ms",
            "logging.level": "error",
            "logging.format": "console",
        }
        return load(None, {}, [f"{name}={value}" for name, value in sets.items()]).settings

    def _produce(self, settings: Settings) -> None:
        plan = self._plan
        producer = Producer({**settings.kafka.client_properties(), "linger.ms": 5, "partitioner": "murmur2_random"})
        for contact in contacts(plan.events, customers=plan.customers, broken_rate=plan.broken, seed=plan.seed):
            producer.produce(
                settings.input.topics[0],
                contact.value,
                contact.key,
                headers=contact.headers,
                on_delivery=partial(self._account.note, contact.broken),
            )
            producer.poll(0)
        if producer.flush(60) or len(self._account.produced) != plan.events:
            raise RuntimeError("the broker did not take the demo's events")

    @asynccontextmanager
    async def _worker(self, settings: Settings) -> AsyncIterator[None]:
        client = build_client(settings)
        pipeline = build_pipeline(settings, client, self._stats)
        running = asyncio.create_task(pipeline.run())
        try:
            yield
        finally:
            pipeline.stop()
            await running
            await client.close()

    async def _watch(self, started: float, stop: asyncio.Event) -> bool:
        """Show the progress until everything is through; False if it takes too long or is to end early."""
        with Live(console=self._console, refresh_per_second=8, transient=True) if self._live else nullcontext() as live:
            shown = started
            while (done := self._stats.enriched + self._stats.dead_lettered) < self._plan.events:
                if stop.is_set() or time.monotonic() - started > self._plan.timeout:
                    return False
                await asyncio.sleep(REFRESH)
                now = time.monotonic()
                if self._begun is None and self._stats.received:
                    self._begun = now - REFRESH
                if live is not None:
                    live.update(self._progress(now - (self._begun or started)))
                elif now - shown >= PLAIN_REFRESH:
                    shown = now
                    self._console.print(f"{done:,} of {self._plan.events:,} events after {now - started:.0f} s")
        return True

    def _progress(self, seconds: float) -> Group:
        stats, total = self._stats, self._plan.events
        done = stats.enriched + stats.dead_lettered
        rate = f"{done / seconds:,.0f} events/s" if done else "the worker joins its group"
        return Group(
            ProgressBar(total=total, completed=done, width=60),
            f"{done:,} of {total:,}  {rate}  {stats.dead_lettered} dead letters  {stats.retries} retries",
        )

    def _audit(self, settings: Settings) -> None:
        kafka, account = settings.kafka.client_properties(), self._account
        with suppress(TopicMissing):  # the embedded broker makes a topic when something is written to it
            for record in read_all(kafka, settings.output.topic):
                account.found(record, decode_enriched(record.value or b""))
        with suppress(TopicMissing):
            for record in read_all(kafka, settings.output.dead_letter_topic):
                account.found_dead(record)

    def _report(self, seconds: float, complaints: list[str]) -> None:
        stats, account = self._stats, self._account
        processed = stats.enriched + stats.dead_lettered
        if self._as_json:
            result = {
                "in": len(account.produced),
                "out": account.outputs.total(),
                "dead_letters": account.dead.total(),
                "dead_letter_causes": dict(account.causes),
                "retries": stats.retries,
                "seconds": round(seconds, 3),
                "events_per_second": round(processed / seconds, 1),
                "latency_ms": {f"p{q:g}": round(stats.event_seconds.quantile(q / 100) * 1e3, 1) for q in QUANTILES},
                "lookup_ms": {f"p{q:g}": round(stats.lookup_seconds.quantile(q / 100) * 1e3, 1) for q in QUANTILES},
                "complaints": complaints,
            }
            sys.stdout.write(json.dumps(result) + "\n")
            return
        say = self._console.print
        say(f"[bold]{len(account.examples)} of the enriched events[/bold]")
        for example in account.examples:
            for line in enriched_lines(example):
                self._console.print(line, overflow="ellipsis", no_wrap=True)
            say()
        say("[bold]summary[/bold]")
        causes = ", ".join(f"{count} {cause}" for cause, count in account.causes.most_common())
        rows = [
            ("in", f"{len(account.produced):,} events"),
            ("out", f"{account.outputs.total():,} enriched events"),
            ("dead letters", f"{account.dead.total():,}" + (f": {causes}" if causes else "")),
            ("retries", f"{stats.retries:,} look-ups were tried again"),
            ("rate", f"{processed / seconds:,.0f} events/s over {seconds:.1f} s"),
            ("look-up", _quantiles(stats.lookup_seconds)),
            ("event", f"{_quantiles(stats.event_seconds)}, waiting for its turn included"),
        ]
        self._console.print(two_columns(rows))
        if complaints:
            say(f"\n[bold red]not all is well:[/bold red] {'; '.join(complaints)}")
        else:
            say("\n[bold green]every event is accounted for[/bold green], in order for each customer")


def _quantiles(histogram: Histogram) -> str:
    return ", ".join(f"p{q:g} {milliseconds(histogram.quantile(q / 100))}" for q in QUANTILES)


def _create_topics(settings: Settings) -> None:
    admin = AdminClient(settings.kafka.client_properties())
    names = (*settings.input.topics, settings.output.topic, settings.output.dead_letter_topic)
    for created in admin.create_topics([NewTopic(name, num_partitions=PARTITIONS) for name in names]).values():
        created.result(30)
