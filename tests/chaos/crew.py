"""The workers: processes in slots, which are started, killed, frozen and stopped, and started again when they end.

Invariants: a slot has one process at a time; one that ends by itself is noted with its reason, and started again after
a moment, as an orchestrator would.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.program import STOP_TIMEOUT, Program
from tests.harness.waiting import wait_until

RESTART = 1.0
"""Seconds after which a worker that has ended by itself is started again."""

_REASON = "enricher: the worker failed: "


@dataclass
class Slot:
    """A place for a worker."""

    number: int
    wanted: bool = False
    program: Program | None = None
    stopping: bool = False  # we have asked it to end, or killed it
    frozen: bool = False
    restart_at: float = 0.0
    ended: list[Program] = field(default_factory=list)


class Crew:
    """All slots.

    Args:
        slots: how many.
        start: starts the worker of a slot.
        pardon: whether a worker may have ended for this reason.

    Attributes:
        ends: the reasons for which workers ended by themselves, those that are pardoned included.
        faults: ends that are not pardoned.
    """

    def __init__(self, slots: int, start: Callable[[int], Program], pardon: Callable[[str], bool]) -> None:
        self.slots = [Slot(number) for number in range(slots)]
        self._start = start
        self._pardon = pardon
        self.ends: list[str] = []
        self.faults: list[str] = []

    def want(self, number: int) -> None:
        """A worker is to run there; it is started by `tick`, when the one before has ended."""
        self.slots[number].wanted = True

    def kill(self, number: int) -> None:
        """End it as a crash does."""
        slot = self.slots[number]
        slot.wanted = False
        if slot.program is not None and slot.program.running:
            slot.stopping = True
            slot.program.kill9()

    def stop(self, number: int) -> None:
        """Ask it to end in order; once, as the second time ends it at once."""
        slot = self.slots[number]
        slot.wanted = False
        if slot.program is not None and slot.program.running and not slot.stopping:
            slot.stopping = True
            slot.program.send(signal.SIGTERM)

    def freeze(self, number: int) -> None:
        """Stop it in the middle of whatever it does."""
        slot = self.slots[number]
        if slot.program is not None and slot.program.running:
            slot.frozen = True
            slot.program.send(signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """Let it go on."""
        slot = self.slots[number]
        if slot.program is not None and slot.frozen:
            slot.frozen = False
            slot.program.send(signal.SIGCONT)

    def tick(self) -> None:
        """Note who has ended, and start who is wanted."""
        now = time.monotonic()
        for slot in self.slots:
            if slot.program is not None and not slot.program.running:
                self._note(slot, slot.program)
                slot.ended.append(slot.program)
                slot.program, slot.stopping, slot.frozen = None, False, False
                slot.restart_at = now + RESTART
            if slot.wanted and slot.program is None and now >= slot.restart_at:
                slot.program = self._start(slot.number)

    def lift(self) -> None:
        """End whatever is wrong with workers, and want all of them that have run."""
        for slot in self.slots:
            self.thaw(slot.number)
            if slot.program is not None or slot.ended:
                slot.wanted = True

    def stop_all(self) -> None:
        """Ask all to end in order, and return when they have."""
        for slot in self.slots:
            self.stop(slot.number)

        def ended() -> bool:
            self.tick()
            return all(slot.program is None for slot in self.slots)

        wait_until(ended, "the end of all workers", 2 * STOP_TIMEOUT)

    def close(self) -> None:
        """Kill whoever is left."""
        for slot in self.slots:
            self.kill(slot.number)

    def programs(self) -> list[tuple[str, Program]]:
        """Every process that there was, with a name."""
        return [
            (f"worker-{slot.number}-{index}", program)
            for slot in self.slots
            for index, program in enumerate([*slot.ended, *([slot.program] if slot.program else [])], 1)
        ]

    def save(self, folder: Path) -> None:
        """Write what each has written."""
        for name, program in self.programs():
            (folder / f"{name}.log").write_text("\n".join([*program.err, *program.out, ""]), "utf-8")

    def _note(self, slot: Slot, program: Program) -> None:
        code = program.wait()
        begun = any("worker_started" in line for line in program.err)  # from then on it ends in order when asked to
        if slot.stopping and (code in (0, -signal.SIGKILL) or (code == -signal.SIGTERM and not begun)):
            return
        reason = next((line for line in program.err if line.startswith(_REASON)), f"exit code {code}")
        end = f"worker {slot.number} (pid {program.pid}): {reason.removeprefix(_REASON)}"
        self.ends.append(end)
        if not self._pardon(end):
            self.faults.append(end)
