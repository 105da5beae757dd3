"""Broker, topics, service and workers of a run, and what each step does to them."""

import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec

from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.chaos.crew import Crew
from tests.chaos.feed import LARGE, Feed, events
from tests.chaos.schedule import BASE_FAULTS, SLOTS, Act, Schedule, Step
from tests.harness.broker import BrokerFailed, KafkaBroker
from tests.harness.clients import add_partitions, lag
from tests.harness.patience import patiently
from tests.harness.program import Program
from tests.integration.worker_world import REPLACED, World

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITIONS = 4

MOST_FAULTS = 5
"""Workers that may have ended in an unexpected way before a run is given up: it is not clean anyway."""

MOST_REPLACED = 2
"""Workers of one run that may give their place up as the Kafka client does not return from a call; more are faults."""

_PATIENCE = 120.0
"""Seconds for the broker to do what it is told."""

_SMALL = str(LARGE - 1_000)
_LARGE = "1000000"


class Stage:
    """Everything that a schedule is played on; `close` it, whatever happens."""

    def __init__(self, plan: Schedule, guarantee: str, broker: KafkaBroker, service: ThreadedHistoryServer) -> None:
        self.broker = broker
        self.service = service
        self._plan = plan
        self._partitions = PARTITIONS
        self._changes: deque[Callable[[], None]] = deque()  # of topics; they wait for the broker to be there
        self._admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        self._starting: threading.Thread | None = None
        self._ask_at = 0.0
        self._failure: BrokerFailed | None = None
        self._down = self._paused = False
        self._dead_shut_once = False
        self.replaced = 0  # workers that gave their place up
        self.world = World(broker.bootstrap_servers, Program, service, partitions=PARTITIONS)
        self._settings = {
            "delivery.guarantee": guarantee,
            "delivery.commit_interval": "300ms" if guarantee == "at-least-once" else "100ms",
            "service.timeout": "2s",
            "service.deadline": "10s",
            "service.max_in_flight": "32",
            "shutdown.deadline": "10s",
            "kafka.properties.topic.metadata.refresh.interval.ms": "1000",
        }
        self._set_group_timeouts()
        self.crew = Crew(SLOTS, self._start_worker, self._may_end)
        self.feed = Feed(broker.bootstrap_servers, self.world.input, events(plan.seed, plan.start or _now()), plan.rate)
        self.service.faults = _faults(BASE_FAULTS)

    def settings(self) -> list[str]:
        """The settings of all workers, as arguments."""
        return self.world.sets({**self._settings, "kafka.group_protocol": self._plan.protocol})

    def begin(self) -> None:
        """Start the workers and the feed."""
        for slot in range(self._plan.workers):
            self.crew.want(slot)
        self.crew.tick()
        self.feed.start()

    def tick(self) -> None:
        """Do what is due besides the steps.

        Raises:
            AssertionError: workers keep ending by themselves.
        """
        self.crew.tick()
        assert len(self.crew.faults) <= MOST_FAULTS, "workers keep ending by themselves"
        self._change_topics()

    def play(self, step: Step) -> None:
        """Do what a step says."""
        match step.act:
            case Act.SERVICE:
                self.service.faults = _faults(step.faults or {})
            case Act.BROKER_STOP | Act.BROKER_KILL:
                self._await_broker()
                self._down = True
                (self.broker.stop if step.act is Act.BROKER_STOP else self.broker.kill)()
            case Act.BROKER_START:
                self._start_broker()
            case Act.BROKER_PAUSE:
                self._await_broker()
                self._paused = True
                self.broker.pause()
            case Act.BROKER_UNPAUSE:
                self._paused = False
                self.broker.unpause()
            case Act.GROW:
                self._grow()
            case Act.DEAD_SHUT | Act.DEAD_OPEN:
                self._dead_shut_once = True
                self._set_topic(self.world.dead, "max.message.bytes", _SMALL if step.act is Act.DEAD_SHUT else _LARGE)
            case Act.OUTPUT_SHUT | Act.OUTPUT_OPEN:
                self._set_topic(self.world.output, "min.insync.replicas", "2" if step.act is Act.OUTPUT_SHUT else "1")
            case _:
                self._play_worker(step.act, step.slot or 0)

    def lift(self) -> None:
        """Everything is whole again, and all workers are wanted."""
        if self._paused:
            self.play(Step(0, Act.BROKER_UNPAUSE))
        if self._down:
            self._start_broker()
        self._await_broker()
        for act in (Act.OUTPUT_OPEN, Act.DEAD_OPEN):
            self.play(Step(0, act))
        self._change_topics()
        self.play(Step(0, Act.SERVICE, faults={}))
        self.crew.lift()

    def resolved(self) -> bool:
        """Whether the workers have committed all of the input; asks the broker once a second."""
        self.tick()
        if time.monotonic() < self._ask_at:
            return False
        self._ask_at = time.monotonic() + 1.0
        return patiently(partial(lag, self.world.bootstrap_servers, self.world.group, self.world.input), 60) == 0

    def transactions_ended(self) -> bool:
        """Whether a ``read_committed`` reader sees all that is written; a killed worker's transaction takes a while."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        asked = {
            KafkaPartition(topic, partition): latest
            for topic in (self.world.output, self.world.dead)
            for partition in range(PARTITIONS)
        }

        def ends(level: IsolationLevel) -> list[int]:
            answers = self._admin.list_offsets(asked, isolation_level=level).values()
            return [answer.result(30).offset for answer in answers]

        seen, written = (
            patiently(partial(ends, level))
            for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        )
        return seen == written

    def close(self) -> None:
        """End whatever is left; the broker is its owner's, who may find it in any state."""
        self.crew.close()
        self.feed.stop()
        if self._starting is not None:
            self._starting.join()

    # ---- workers -------------------------------------------------------------------------------------------------

    def _start_worker(self, slot: int) -> Program:
        name = [f"--set=kafka.group_instance_id=worker-{slot}"] if self._plan.static else []
        return Program("run", "--json", *self.settings(), *name)

    def _may_end(self, end: str) -> bool:
        """What is meant to end a worker: a dead letter that cannot be written, a name that another one has.

        And a Kafka client that does not return from a call: its worker ends, so that whoever looks after workers starts
        another. That is counted, and pardoned a few times only.
        """
        if REPLACED in end:
            self.replaced += 1
            return self.replaced <= MOST_REPLACED
        dead_letter = self._dead_shut_once and f"dead letter for topic {self.world.dead}" in end
        name_taken = self._plan.static and "kafka.group_instance_id" in end
        return dead_letter or name_taken

    def _play_worker(self, act: Act, slot: int) -> None:
        {
            Act.START: self.crew.want,
            Act.KILL: self.crew.kill,
            Act.STOP: self.crew.stop,
            Act.FREEZE: self.crew.freeze,
            Act.THAW: self.crew.thaw,
        }[act](slot)

    # ---- broker and topics ---------------------------------------------------------------------------------------

    def _start_broker(self) -> None:
        """In a thread of its own: workers come and go meanwhile."""

        def start() -> None:
            try:
                self.broker.start()
            except BrokerFailed as failure:
                self._failure = failure

        self._starting = threading.Thread(target=start, name="broker-start", daemon=True)
        self._starting.start()
        self._down = False

    def _await_broker(self) -> None:
        if self._starting is not None:
            self._starting.join()
            self._starting = None
        if self._failure is not None:
            raise self._failure

    def _change_topics(self) -> None:
        """Make the changes that wait, once there is a broker to ask."""
        if self._starting is not None and not self._starting.is_alive():
            self._await_broker()
        while self._changes and not (self._down or self._paused or self._starting):
            patiently(self._changes.popleft(), _PATIENCE)

    def _grow(self) -> None:
        self._partitions += 1
        wanted = self._partitions

        def grow() -> None:
            if len(self._admin.list_topics(self.world.input, 10).topics[self.world.input].partitions) < wanted:
                add_partitions(self.world.bootstrap_servers, self.world.input, wanted)

        self._changes.append(grow)

    def _set_topic(self, topic: str, name: str, value: str) -> None:
        self._changes.append(partial(self._alter, ConfigResource.Type.TOPIC, topic, {name: value}))

    def _set_group_timeouts(self) -> None:
        """What the broker decides under KIP-848; the same as the workers' own properties otherwise."""
        timeouts = {"consumer.session.timeout.ms": "3000", "consumer.heartbeat.interval.ms": "300"}
        self._alter(ConfigResource.Type.GROUP, self.world.group, timeouts)

    def _alter(self, kind: Any, name: str, settings: dict[str, str]) -> None:
        entries = [ConfigEntry(n, value, incremental_operation=AlterConfigOpType.SET) for n, value in settings.items()]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        self._admin.incremental_alter_configs([resource])[resource].result(30)


def _faults(given: dict[str, Any]) -> Faults:
    return msgspec.convert(given, Faults)


def _now() -> int:
    return time.time_ns() // 1_000_000
