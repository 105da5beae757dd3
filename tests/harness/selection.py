"""Which Kafka the session uses: in a container, or on a JVM.

``TEST_KAFKA`` says ``container``, ``jvm`` or ``auto`` (the default: a container where that works, else a
JVM). Its name does not begin with ``ENRICHER_``: the program takes such a variable for a setting, and refuses one
that it does not know. What was tried is kept, so that a run can say what it uses and why, and a failure what would
be needed.
"""

import os
import time
from collections.abc import Callable, Sequence

from tests.harness.broker import JVM_OPTIONS, BrokerFailed, KafkaBroker
from tests.harness.container import ContainerBroker
from tests.harness.jvm import JvmBroker

VARIABLE = "TEST_KAFKA"

_WAYS: dict[str, Callable[[Sequence[str]], KafkaBroker]] = {"container": ContainerBroker, "jvm": JvmBroker}


class KafkaOfSession:
    """The session's shared broker, started once on first use, and further ones of the same way.

    Once a way has been found, or none, that stands for the whole session.
    """

    def __init__(self, wanted: str | None = None, *, options: Sequence[str] = JVM_OPTIONS) -> None:
        """Nothing is started yet.

        Args:
            wanted: the way; by default the variable's.
            options: of each broker's JVM.
        """
        self._options = options
        self._wanted = wanted or os.environ.get(VARIABLE) or "auto"
        self._shared: KafkaBroker | None = None
        self._failure: BrokerFailed | None = None
        self._way: str | None = None
        self._tried: list[str] = []
        self._private: list[KafkaBroker] = []

    def shared(self) -> KafkaBroker:
        """The broker that all tests share.

        Raises:
            BrokerFailed: no way works; the message says what was tried.
        """
        if self._failure is not None:
            raise self._failure
        if self._shared is None:
            try:
                self._shared = self._choose()
            except BrokerFailed as failure:
                self._failure = failure
                raise
        return self._shared

    def another(self) -> KafkaBroker:
        """A further broker, started, of the same way; the caller closes it."""
        self.shared()
        assert self._way is not None
        broker = _WAYS[self._way](self._options)
        self._private.append(broker)
        broker.start()
        return broker

    def report(self) -> str:
        """Start the shared broker and say in a line which one it is and why, or that there is none."""
        begun = time.monotonic()
        try:
            broker = self.shared()
        except BrokerFailed as failure:
            return f"kafka: NONE, tests that need it will fail: {failure}"
        because = f"{VARIABLE}={self._wanted}" + "".join(f"; {reason}" for reason in self._tried)
        return f"kafka: {broker.description} (started in {time.monotonic() - begun:.1f} s; {because})"

    def close(self) -> None:
        """End every broker."""
        for broker in self._private:
            broker.close()
        if self._shared is not None:
            self._shared.close()
        self._shared = None

    def _choose(self) -> KafkaBroker:
        if self._wanted == "auto":
            ways = list(_WAYS)
        elif self._wanted in _WAYS:
            ways = [self._wanted]
        else:
            raise BrokerFailed(f"{VARIABLE} is {self._wanted!r}; it may be container, jvm or auto")
        for way in ways:
            try:
                broker = _WAYS[way](self._options)
            except BrokerFailed as failure:
                self._tried.append(f"{way}: {failure}")
                continue
            try:
                broker.start()
            except BrokerFailed as failure:
                self._tried.append(f"{way}: {failure}")
                broker.close()
                continue
            self._way = way
            return broker
        raise BrokerFailed(
            "no Apache Kafka for the tests. Tried "
            + "; ".join(self._tried)
            + ". Needed is a Docker engine that has or can pull the image (KAFKA_IMAGE), or Java 17 or newer"
            " and once a Maven repository (MAVEN_REPOSITORY)."
        )
