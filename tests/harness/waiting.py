"""Waiting for a condition with a deadline, in place of sleeping and hoping."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL = 0.05


def wait_until(predicate: Callable[[], T], description: str, timeout: float = 30.0) -> T:
    """Call ``predicate`` until its answer is true, and return that answer.

    Args:
        predicate: asked every 50 ms; an exception that it raises ends the wait.
        description: what is waited for, for the failure's message.
        timeout: seconds.

    Raises:
        AssertionError: the answer did not become true in time.
    """
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for: {description}; last answer: {answer!r}")
        time.sleep(_INTERVAL)
    return answer


async def wait_until_async(predicate: Callable[[], T], description: str, timeout: float = 30.0) -> T:  # noqa: ASYNC109  same signature as wait_until
    """As `wait_until`, leaving the event loop free between two questions."""
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for: {description}; last answer: {answer!r}")
        await asyncio.sleep(_INTERVAL)
    return answer
