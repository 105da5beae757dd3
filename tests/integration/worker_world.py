"""What the integration tests stand a worker in: topics of its own, a history service, and an account of every record.

Invariants: what is sent is remembered with its place; `World.audit` looks for each of these records, and accepts no
other; a test says beforehand which become dead letters and why, and all others have to be enriched.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeAlias

from enricher.codec import OutputReader
from enricher.deadletter import DeadLetterCause, parse_dead_letter
from enricher.model import Enriched, Position, Record
from enricher.testing.contacts import START, Contact
from enricher.testing.histories import GeneratedHistories
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.clients import (
    Sent,
    Written,
    committed,
    create_topic,
    end_offsets,
    lag,
    produce,
    read_topic,
    resolved,
    unique_name,
)
from tests.harness.patience import patiently
from tests.harness.program import Program
from tests.harness.waiting import wait_until

REPLACED = "a new worker has to take over"
"""How a worker's last words end when it gives its place up, as its Kafka client does not return."""

Causes: TypeAlias = Mapping[Written, str]

CAUSES = {
    "empty value": "EmptyValue",
    "truncated JSON": "InvalidJson",
    "not JSON": "UnknownEncoding",
    "no customer id": "MissingCustomerId",
    "invalid UTF-8": "InvalidUtf8",
    "impossible time": "InvalidEventTime",
    "unknown Avro schema": "UnknownSchemaId",
}
"""The cause of each kind of broken contact."""


def sent_contacts(made: Iterable[Contact], start: int = START) -> list[Sent]:
    """Contacts as records; each has a time of its own, from ``start`` on."""
    return [
        Sent(contact.key, contact.value, [(n, _bytes(v)) for n, v in contact.headers], start + number)
        for number, contact in enumerate(made)
    ]


def contact(customer: str, number: int = 0, *, partition: int | None = None, key: bytes | None = b"") -> Sent:
    """A good contact of a customer, who is its key too unless another (or None) is given."""
    event = {"eventId": f"E-{customer}-{number}", "customerId": customer, "contactTime": START + number}
    headers: list[tuple[str, bytes | None]] = [("trace", str(number).encode()), ("trace", None)]
    return Sent(
        customer.encode() if key == b"" else key, json.dumps(event).encode(), headers, START + number, partition
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


@cache
def offers_of(customer: str) -> list[str]:
    """The identifiers of the offers that the service has of a customer, in its order."""
    return [offer["Identifier"] for offer in json.loads(GeneratedHistories().body(customer))["OfferHistory"]]


@dataclass
class Audit:
    """Where the records were found, by their places in the input."""

    outputs: dict[Written, list[Enriched]] = field(default_factory=dict)
    dead: dict[Written, list[DeadLetterCause]] = field(default_factory=dict)

    @property
    def repeated(self) -> set[Written]:
        """What came out more than once."""
        counts: dict[Written, int] = {}
        for found in (self.outputs, self.dead):
            for place, times in found.items():
                counts[place] = counts.get(place, 0) + len(times)
        return {place for place, count in counts.items() if count > 1}


class World:
    """The surroundings of one job.

    Args:
        bootstrap_servers: the broker's address.
        start: starts programs.
        service: the history service, started, with generated histories.
        partitions: of the input and the output topic.
        limits: ``max.message.bytes`` of topics, by ``input``, ``output`` and ``dead``.
        without: of these names, the topics that are not created.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        start: StartProgram,
        service: ThreadedHistoryServer,
        *,
        partitions: int = 4,
        limits: Mapping[str, int] | None = None,
        without: Collection[str] = (),
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.service = service
        self._start = start
        self.input = unique_name("contacts")
        self.output = unique_name("enriched")
        self.dead = unique_name("dead")
        self.group = unique_name("workers")
        self.sent: dict[Written, Sent] = {}
        self.workers: list[Program] = []
        self._supervised: Mapping[str, str] | None = None
        self._gone: Program | None = None
        self.reader = OutputReader()
        for role, topic in (("input", self.input), ("output", self.output), ("dead", self.dead)):
            if role not in without:
                limit = (limits or {}).get(role)
                config = {} if limit is None else {"max.message.bytes": str(limit)}
                create_topic(bootstrap_servers, topic, partitions=partitions, config=config)

    # ---- to do ---------------------------------------------------------------------------------------------------

    def sets(self, changes: Mapping[str, str] | None = None) -> list[str]:
        """The settings as arguments; ``changes`` are further ones, or others."""
        settings = {
            "kafka.bootstrap_servers": self.bootstrap_servers,
            "kafka.group_id": self.group,
            "kafka.consumer.session.timeout.ms": "3000",  # a killed worker's partitions are to move soon
            "kafka.consumer.heartbeat.interval.ms": "300",
            "input.topics": self.input,
            "output.topic": self.output,
            "output.dead_letter_topic": self.dead,
            "service.url": self.service.url,
            "delivery.commit_interval": "300ms",
            "http.listen": "127.0.0.1:0",  # several workers share this machine
        }
        settings |= changes or {}
        if settings.get("kafka.group_protocol") == "consumer":  # which leaves these to the broker
            settings = {
                name: value
                for name, value in settings.items()
                if not name.endswith(("session.timeout.ms", "heartbeat.interval.ms"))
            }
        return [f"--set={name}={value}" for name, value in settings.items()]

    def worker(
        self, changes: Mapping[str, str] | None = None, *, environment: Mapping[str, str] | None = None
    ) -> Program:
        """Start a worker."""
        program = self._start("run", "--json", *self.sets(changes), environment=environment)
        self.workers.append(program)
        return program

    def supervised_worker(self, changes: Mapping[str, str]) -> None:
        """Start a worker that is replaced, once, if it says that another has to take over."""
        self.worker(changes)
        self._supervised = changes

    def send(self, records: Iterable[Sent]) -> list[Written]:
        """Write records to the input; returns their places in the order of the records."""
        records = list(records)
        places = produce(self.bootstrap_servers, self.input, records)
        self.sent.update(zip(places, records, strict=True))
        return places

    # ---- to wait for ---------------------------------------------------------------------------------------------

    def await_committed(self, timeout: float = 60.0) -> None:
        """Return when the whole input is committed, which says that it is resolved."""
        self._await(
            lambda: patiently(lambda: lag(self.bootstrap_servers, self.group, self.input)) == 0,
            "all input committed",
            timeout,
        )

    def await_committed_places(self, places: Collection[Written], timeout: float = 60.0) -> None:
        """Return when these records are committed as resolved, whatever of others."""
        wanted = set(places)
        self._await(lambda: wanted <= self.committed_places(), f"{len(wanted)} records committed", timeout)

    def await_published(self, count: int, timeout: float = 60.0) -> None:
        """Return when at least so many outputs and dead letters are written."""
        self._await(lambda: self.published() >= count, f"{count} outputs and dead letters", timeout)

    def published(self) -> int:
        """Outputs and dead letters so far."""
        return sum(
            sum(patiently(partial(end_offsets, self.bootstrap_servers, topic)).values())
            for topic in (self.output, self.dead)
        )

    def _await(self, predicate: Callable[[], bool], description: str, timeout: float) -> None:
        def look() -> bool:
            for worker in list(self.workers):
                code = worker.returncode
                assert code in (None, 0, -9) or self._replaced(worker), f"a worker ended with {code}:\n{worker.tail()}"
            return predicate()

        try:
            wait_until(look, description, timeout)
        except AssertionError as failure:
            tails = "\n".join(worker.tail(15) for worker in self.workers)
            raise AssertionError(f"{failure}\n{tails}") from None

    def _replaced(self, worker: Program) -> bool:
        """Whether it was right to end and another has its place, which is started here the first time."""
        if REPLACED not in worker.tail():
            return False
        if self._supervised is not None:
            self.worker(self._supervised)
            self._supervised = None
            self._gone = worker
        return worker is self._gone

    # ---- to look at ----------------------------------------------------------------------------------------------

    def positions(self) -> dict[int, Position]:
        """What the group has committed, by partition."""
        return patiently(lambda: committed(self.bootstrap_servers, self.group, self.input))

    def committed_places(self) -> set[Written]:
        """The sent records that the group has committed as resolved."""
        return patiently(lambda: resolved(self.bootstrap_servers, self.group, self.input)) & set(self.sent)

    def found(self) -> Audit:
        """What is in the output and the dead letters now, each checked against the record that it came of."""
        audit = Audit()
        firsts: dict[tuple[str, int, bytes], int] = {}
        for record in read_topic(self.bootstrap_servers, self.output):
            enriched = self.reader.decode(record.value, record.headers)
            how = enriched.enrichment
            place = Written(how.partition, how.offset)
            assert how.topic == self.input
            self._check_passed(place, record, len(self.sent[place].headers))
            self._check_contact(place, enriched)
            if place not in audit.outputs and record.key is not None:
                lane = (self.output, place.partition, record.key)
                assert firsts.get(lane, -1) < place.offset, f"{place} came out before an older event of its key"
                firsts[lane] = place.offset
            audit.outputs.setdefault(place, []).append(enriched)
        for record in read_topic(self.bootstrap_servers, self.dead):
            cause = parse_dead_letter(record.headers)
            assert cause is not None, f"a dead letter without a cause: {record.headers}"
            place = Written(cause.partition, cause.offset)
            assert cause.topic == self.input
            assert cause.message
            self._check_passed(place, record, len(self.sent[place].headers))
            assert record.value == self.sent[place].value
            audit.dead.setdefault(place, []).append(cause)
        return audit

    def found_of(self, places: Collection[Written]) -> Audit:
        """As `found`, once these are there: the broker commits a transaction before all readers can see it."""
        audit = self.found()
        deadline = time.monotonic() + 60.0
        while missing := set(places) - set(audit.outputs) - set(audit.dead):
            lost = f"{len(missing)} of {len(places)} records are lost: {sorted(missing)[:10]}"
            assert time.monotonic() < deadline, lost
            time.sleep(1.0)
            audit = self.found()
        return audit

    def audit(self, dead: Causes | None = None, *, repeatable: Collection[Written] = ()) -> Audit:
        """Account for every record: those in ``dead`` are dead letters of that cause, all others are enriched.

        Args:
            dead: the causes of the dead letters.
            repeatable: what may have come out more than once.
        """
        audit = self.found_of(self.sent)
        expected = dict(dead or {})
        assert {place: causes[0].cause for place, causes in audit.dead.items()} == expected
        assert not set(audit.outputs) & set(audit.dead)
        assert audit.repeated <= set(repeatable), f"repeated: {sorted(audit.repeated - set(repeatable))[:10]}"
        self.check_logs()
        return audit

    def check_logs(self) -> None:
        """No worker has written a customer's id anywhere."""
        ids = {record.key.decode(errors="replace") for record in self.sent.values() if record.key}
        for worker in self.workers:
            for line in (*worker.out, *worker.err):
                assert not any(word in ids for word in line.replace('"', " ").split()), line
                assert "CUST-" not in line, line

    def _check_passed(self, place: Written, record: Record, count: int) -> None:
        """Key, time and headers are those of the record that was sent."""
        sent = self.sent[place]
        assert (record.key, record.timestamp) == (sent.key, sent.timestamp), place
        assert record.headers[:count] == list(sent.headers), place

    def _check_contact(self, place: Written, enriched: Enriched) -> None:
        """The event is the one sent, and the history that of its customer."""
        value = self.sent[place].value or b""
        if value.startswith(b"{"):
            event = json.loads(value)
            contact = enriched.contact
            assert contact.customer_id == str(event["customerId"])
            assert contact.event_id == event.get("eventId", f"{self.input}-{place.partition}-{place.offset}")
        customer = enriched.contact.customer_id
        assert enriched.offer_history.customer_id == customer
        assert [offer.identifier for offer in enriched.offer_history.offers] == offers_of(customer), place
