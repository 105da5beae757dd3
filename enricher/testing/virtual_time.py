"""An event loop whose clock is virtual: when nothing is ready, it jumps to the next timer instead of waiting.

What takes a minute takes a millisecond, and the same every time. Invariants: time never goes back, and passes only
when no callback is ready; a loop in which nothing can happen any more ends with ``Stuck`` instead of hanging.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_SPINS = 200_000
_LATE = 1e-6


class Stuck(AssertionError):  # noqa: N818  what the test run says
    """The coroutine cannot end, or not in the time that it was given."""


class _Selector(selectors.BaseSelector):
    """Asks the real selector without waiting, and moves the loop's clock by the time that it should have waited."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0
        self.limit = 0.0
        self._spins = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        self._spins += 1
        if ready or timeout == 0:
            if self._spins > _SPINS:
                self._spins = 0
                raise Stuck(f"{_SPINS} turns of the loop in which no time passed, at {self.now:g} s")
            return ready
        self._spins = 0
        if timeout is None:
            raise Stuck(f"nothing is left that could happen, at {self.now:g} s")
        # A little late, as real loops are: on the dot, a rounding error makes it too early for who asks the clock.
        self.now += timeout + _LATE
        if self.now > self.limit:
            raise Stuck(f"not done after {self.limit:g} virtual seconds")
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time starts at 0 and must not pass ``limit`` (seconds)."""

    def __init__(self, limit: float) -> None:
        self._virtual = _Selector()
        self._virtual.limit = limit
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9
        self.faults: list[Exception] = []

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual.now

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised and nobody took, for ``run_virtual`` to raise."""
        error = context.get("exception")
        self.faults.append(error if isinstance(error, Exception) else RuntimeError(str(context.get("message"))))

    def extend(self, seconds: float) -> None:
        """Allow more time, for the clean-up after ``Stuck``."""
        self._virtual.limit += seconds


def run_virtual(main: Coroutine[Any, Any, T], *, limit: float = 3600.0) -> T:
    """Run a coroutine in virtual time, as ``asyncio.run`` does in real time.

    Args:
        main: the coroutine; it may use timers and tasks, but neither threads nor sockets.
        limit: virtual seconds that it may take.

    Raises:
        Stuck: it waits for something that cannot happen (the message tells which task waits where), it spins without
            time passing, or it is not done within the limit.
        Exception: also what a callback or a forgotten task raised, which the real loop would only have logged.
    """
    loop = VirtualLoop(limit)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            result = runner.run(main)
        except Stuck as stuck:
            waiting = "\n".join(sorted(map(_where, asyncio.all_tasks(loop))))
            loop.extend(limit)
            raise Stuck(f"{stuck}\n{waiting}") from None
    if loop.faults:
        raise loop.faults[0]
    return result


def _where(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    at = f"{frames[0].f_code.co_filename.rpartition('/')[2]}:{frames[0].f_lineno}" if frames else "not started"
    return f"- {getattr(task.get_coro(), '__qualname__', task.get_name())} waits at {at}"
