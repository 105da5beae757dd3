"""``enricher replay`` against a real Kafka: bounded, resumable, shared, and compared with what is there."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from enricher.cli.planning import instant
from enricher.codec import Encoder, decode_enriched
from enricher.model import REPLAY_HEADER, Enriched, Record
from enricher.testing.contacts import START, contacts
from enricher.testing.faults import Faults
from enricher.testing.histories import FixedHistories, GeneratedHistories
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.clients import Sent, create_topic, end_offsets, lag, read_topic, unique_name
from tests.harness.patience import patiently
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact, sent_contacts

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]  # many programs, one after the other

GUARANTEES = ("at-least-once", "exactly-once")


class Replays:
    """Starts replays of a world's input."""

    def __init__(self, start: StartProgram, world: World) -> None:
        self._start = start
        self._world = world

    def start(self, *arguments: str, **changes: str) -> Program:
        """Start one; in names of settings ``__`` stands for a dot."""
        sets = self._world.sets({name.replace("__", "."): value for name, value in changes.items()})
        return self._start("replay", "--json", *arguments, *sets)

    def run(self, *arguments: str, **changes: str) -> dict[str, Any]:
        """Run one to its end; returns what it says of itself, and its exit code."""
        program = self.start(*arguments, **changes)
        code = program.wait(180)
        assert len(program.out) == 1, program.tail()
        result: dict[str, Any] = json.loads(program.out[0])
        return {**result, "code": code}


@pytest.fixture
def replays(start_program: StartProgram, world: World) -> Replays:
    """Starts replays."""
    return Replays(start_program, world)


def _places(records: Iterable[Record]) -> Counter[tuple[int, int]]:
    """How often each event has an output."""
    found = [decode_enriched(record.value or b"").enrichment for record in records]
    return Counter((how.partition, how.offset) for how in found)


def _at(enriched: Enriched, other: Enriched) -> bytes:
    """An output's bytes, if its history had been looked up when the other's was, and with as many attempts."""
    history = msgspec.structs.replace(
        enriched.offer_history, looked_up_at=other.offer_history.looked_up_at, as_of=other.offer_history.as_of
    )
    how = msgspec.structs.replace(enriched.enrichment, attempts=other.enrichment.attempts)
    return Encoder().encode(msgspec.structs.replace(enriched, offer_history=history, enrichment=how))


def test_a_day_is_replayed_to_another_topic(world: World, replays: Replays) -> None:
    """By time, out of order: the outputs are the live ones byte for byte, but for the look-up's time and a header.

    The live group stays where it is; what is written later does not come in; a dry run tells it all before.
    """
    # Every third record is an hour older than those around it.
    times = [START + number * 1_000 - (3_600_000 if number % 3 == 0 else 0) for number in range(600)]
    made = contacts(600, customers=100, broken_rate=0.02)
    world.send(sent._replace(timestamp=time) for sent, time in zip(sent_contacts(made), times, strict=True))
    worker = world.worker()
    world.await_committed()
    assert worker.terminate() == 0
    before = world.positions()
    topic = unique_name("again")
    create_topic(world.bootstrap_servers, topic, partitions=4)
    since, until = START + 60_000, START + 300_000
    begin, end = instant(since), instant(until)
    chosen = {place for place, sent in world.sent.items() if since <= (sent.timestamp or 0) < until}
    assert 100 < len(chosen) < 400
    range_ = (f"--from={begin}", f"--to={end}")
    estimate = replays.run(*range_, "--dry-run", "--rate=10")
    assert estimate["exact"]
    assert estimate["seconds_at_rate"] == estimate["events"] / 10
    assert estimate["events"] + estimate["broken"] == len(chosen)
    assert end_offsets(world.bootstrap_servers, topic) == dict.fromkeys(range(4), 0)
    program = replays.start(*range_, "--to-topic", topic, "--name", "outage")
    program.wait_for_log("replay outage", 60)
    world.send(contact(f"LATE-{number}")._replace(timestamp=since + number) for number in range(20))
    assert program.wait(180) == 0, program.tail()
    result = json.loads(program.out[0])
    assert (result["name"], result["complete"]) == ("outage", True)
    assert result["enriched"] + result["dead_letters"] == len(chosen)
    assert 0 < result["left_out"] <= 600 - len(chosen)  # what is older than all of the range is not even read
    live = {}
    for record in read_topic(world.bootstrap_servers, world.output):
        enriched = decode_enriched(record.value or b"")
        live[enriched.enrichment.partition, enriched.enrichment.offset] = (record, enriched)
    again = read_topic(world.bootstrap_servers, topic)
    assert set(_places(again)) | set(_dead(world)) == {tuple(place) for place in chosen}
    assert len(again) == result["enriched"]
    for record in again:
        enriched = decode_enriched(record.value or b"")
        old, was = live[enriched.enrichment.partition, enriched.enrichment.offset]
        assert record.headers == [*old.headers, (REPLAY_HEADER, b"outage")]
        assert (record.key, record.timestamp) == (old.key, old.timestamp)
        assert _at(enriched, was) == old.value
    assert world.positions() == before


def _dead(world: World) -> set[tuple[int, int]]:
    """The events whose dead letter is a replay's."""
    found = set()
    for record in read_topic(world.bootstrap_servers, world.dead):
        headers = dict(record.headers)
        if REPLAY_HEADER in headers:
            place = [int(headers[f"__connect.errors.{name}"] or b"") for name in ("partition", "offset")]
            found.add((place[0], place[1]))
    return found


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_killed_replay_goes_on(guarantee: str, world: World, replays: Replays) -> None:
    """Killed twice in the middle, then resumed: complete, and under exactly-once each output once."""
    world.service.faults = Faults(latency="200ms")  # it must not end before it is killed
    world.send(sent_contacts(contacts(1_500, customers=300)))
    changes = {
        "delivery__guarantee": guarantee,
        "delivery__commit_interval": "100ms",
        "history__coalesce": "false",
        "service__limiter": "fixed",
    }
    arguments = ["--from=beginning", "--name=hit", "--max-in-flight=32"]
    for target in (300, 700):
        program = replays.start(*arguments, **changes)
        wait_until(lambda target=target: _written(world) >= target, f"{target} outputs", 60)  # type: ignore[misc]
        program.kill9()
        arguments = ["--resume=hit"]
    world.send(contact(f"LATE-{number}") for number in range(20))
    world.service.faults = Faults()
    result = replays.run("--resume=hit", **changes)
    assert (result["code"], result["complete"], result["offsets"], result["done"]) == (0, True, 1_500, 1_500)
    places = _places(read_topic(world.bootstrap_servers, world.output))
    assert set(places) == {tuple(place) for place in list(world.sent)[:1_500]}
    # Each kill repeats at most what was resolved since the last commit; far from everything.
    assert sum(places.values()) < 1_500 + 2 * 400
    if guarantee == "exactly-once":
        assert set(places.values()) == {1}
    assert patiently(lambda: lag(world.bootstrap_servers, world.group, world.input)) == 1_520  # nothing was committed
    assert replays.run("--resume=hit", **changes)["enriched"] == 0


def _written(world: World) -> int:
    return sum(patiently(lambda: end_offsets(world.bootstrap_servers, world.output)).values())


def test_several_processes_share_a_replay(world: World, replays: Replays) -> None:
    """Two that are given one name, of which one has two processes of its own; each event is done by one of them."""
    world.service.faults = Faults(latency="20ms")
    world.send(sent_contacts(contacts(2_000, customers=400, broken_rate=0.01)))
    arguments = ("--from=beginning", "--name=shared")
    both = [replays.start(*arguments), replays.start(*arguments, "--parallel=2")]
    assert [program.wait(180) for program in both] == [0, 0], [program.tail() for program in both]
    results = [json.loads(program.out[0]) for program in both]
    assert all(result["complete"] and result["done"] == 2_000 for result in results)
    assert results[0]["ranges"] == results[1]["ranges"]
    done = sum(result["enriched"] + result["dead_letters"] for result in results)
    assert done >= 2_000  # a partition that moves in the middle may repeat what was not committed
    assert set(_places(read_topic(world.bootstrap_servers, world.output))) | _dead(world) == {
        tuple(place) for place in world.sent
    }


def test_chosen_customers_alone_are_looked_up(world: World, replays: Replays, tmp_path: Any) -> None:
    """By a file of ids and by an expression; nobody else's history is asked for, and not too often."""
    world.send(sent_contacts(contacts(400, customers=40)))
    world.send([Sent(b"x", b"no event", timestamp=START)])
    ids = {sent.key for sent in world.sent.values() if sent.key and sent.key[-1:] in b"13"}
    file = tmp_path / "ids"
    file.write_text("\n".join(key.decode() for key in ids))
    where = "--where=channel = 'Web' or channel != 'Web'"
    result = replays.run("--from=beginning", f"--customers={file}", where, "--rate=20")
    expected = [place for place, sent in world.sent.items() if sent.key in ids]
    assert (result["enriched"], result["dead_letters"], result["left_out"]) == (len(expected), 0, 401 - len(expected))
    assert set(_places(read_topic(world.bootstrap_servers, world.output))) == {tuple(place) for place in expected}
    assert len(ids) <= world.service.stats.requests <= len(expected)
    assert result["seconds"] > (world.service.stats.requests - 4) / 20  # some may come at once
    none = replays.run("--from=beginning", "--where=customerId = 'nobody'")
    assert (none["enriched"], none["left_out"], none["complete"]) == (0, 401, True)


def test_a_comparison_finds_the_one_changed_offer(world: World, replays: Replays) -> None:
    """No difference to an unchanged service; exactly that of a service with one changed offer; nothing is published."""
    world.send([contact(f"C-{number}") for number in range(50)])
    worker = world.worker()
    world.await_committed()
    assert worker.terminate() == 0
    before = _written(world)
    same = replays.run("--from=beginning", "--compare")
    assert (same["code"], same["different"], same["same"], same["changed"], same["new"]) == (0, False, 50, 0, 0)
    bodies = {f"C-{number}": GeneratedHistories().body(f"C-{number}") for number in range(50)}
    history = json.loads(bodies["C-7"])
    history["OfferHistory"][3]["Outcome"] = "Changed"
    bodies["C-7"] = json.dumps(history).encode()
    with ThreadedHistoryServer(FixedHistories(bodies)) as changed:
        result = replays.run("--from=beginning", "--compare", service__url=changed.url)
    assert result["code"] == 3
    assert (result["different"], result["same"], result["changed"], result["new"]) == (True, 49, 1, 0)
    assert result["fields"] == {"offerHistory.offers[].outcome": 1}
    [example] = result["examples"]["offerHistory.offers[].outcome"]
    [place] = [place for place, sent in world.sent.items() if sent.key == b"C-7"]
    assert example["event"] == f"{world.input}[{place.partition}]@{place.offset}"
    assert example["new"].startswith("Changed (")
    assert "C-7" not in json.dumps(result)
    assert _written(world) == before
