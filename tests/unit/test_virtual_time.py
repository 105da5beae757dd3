"""The virtual clock itself: what the pipeline's tests rest on."""

import asyncio

import pytest

from tests.virtual_time import Stuck, run_virtual


def test_time_passes_only_when_nothing_else_happens() -> None:
    """An hour takes no time, timers fire in their order, and the clock is where they said."""

    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        fired: list[tuple[str, float]] = []
        loop.call_later(3000.0, lambda: fired.append(("late", round(loop.time(), 3))))
        loop.call_later(0.5, lambda: fired.append(("early", round(loop.time(), 3))))
        await asyncio.sleep(3500.0)
        return fired

    assert run_virtual(main()) == [("early", 0.5), ("late", 3000.0)]


def test_a_deadlock_is_told() -> None:
    """Waiting for what cannot happen ends, and the message says where."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match=r"nothing is left that could happen[^$]*main waits at test_virtual_time\.py"):
        run_virtual(main())


def test_a_busy_loop_is_told() -> None:
    """Spinning without time passing ends."""

    async def main() -> None:
        while True:  # noqa: ASYNC110  a busy loop is what is tested
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="no time passed"):
        run_virtual(main())


def test_a_limit_is_kept() -> None:
    """What ticks for ever ends at the limit."""

    async def main() -> None:
        while True:  # noqa: ASYNC110  a loop without an end is what is tested
            await asyncio.sleep(1.0)

    with pytest.raises(Stuck, match="not done after 60 virtual seconds"):
        run_virtual(main(), limit=60.0)


def test_a_callback_that_raises_fails_the_test() -> None:
    """What a real loop would only have logged is raised."""

    async def main() -> None:
        asyncio.get_running_loop().call_soon([].pop)
        await asyncio.sleep(1.0)

    with pytest.raises(IndexError):
        run_virtual(main())
