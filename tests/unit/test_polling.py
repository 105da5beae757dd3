"""Polling a producer that has nothing to do."""

import asyncio

from enricher.polling import INTERVAL, Polling
from tests.virtual_time import run_virtual


def test_it_polls_until_it_is_stopped() -> None:
    """Once each interval, and no more afterwards."""

    async def main() -> list[int]:
        times: list[float] = []
        polling = Polling(lambda: times.append(asyncio.get_running_loop().time()))
        seen = []
        for _ in range(3):
            await asyncio.sleep(INTERVAL * 2 + 0.01)
            seen.append(len(times))
        polling.stop()
        await asyncio.sleep(INTERVAL * 5)
        return [*seen, len(times)]

    assert run_virtual(main()) == [2, 4, 6, 6]
