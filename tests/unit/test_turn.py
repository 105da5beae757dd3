"""Turns of the event loop are short, whatever is ready."""

import asyncio

from enricher.turn import PIECES, SECONDS, Turn
from tests.virtual_time import run_virtual


def _most_in_a_turn(tasks: int, pieces: int, cost: float) -> int:
    """How many pieces of work at most were done in one turn, all of them by tasks that never wait."""
    now = 0.0
    counts = [0]

    async def work(turn: Turn) -> None:
        nonlocal now
        for _ in range(pieces):
            if turn.over():
                await turn.next()
            counts[-1] += 1
            now += cost

    async def main() -> None:
        turn = Turn(lambda: now)
        loop = asyncio.get_running_loop()

        def count() -> None:
            counts.append(0)
            loop.call_soon(count)

        loop.call_soon(count)
        await asyncio.gather(*(work(turn) for _ in range(tasks)))

    run_virtual(main())
    assert sum(counts) == tasks * pieces
    return max(counts)


def test_many_small_pieces_are_bounded_by_their_number() -> None:
    """One task, or many: between two looks of the loop at its timers there are no more than so many."""
    assert _most_in_a_turn(tasks=1, pieces=10 * PIECES, cost=0.0) == PIECES
    assert _most_in_a_turn(tasks=128, pieces=10, cost=0.0) <= 2 * PIECES


def test_large_pieces_are_bounded_by_their_time() -> None:
    """The last of them may begin just before the time is over."""
    assert _most_in_a_turn(tasks=1, pieces=20, cost=SECONDS * 0.4) == 3
    assert _most_in_a_turn(tasks=20, pieces=1, cost=SECONDS * 2) <= 2
