"""The history service as a case scripts it, in place of an HTTP library: the client above it is the real one.

Invariants: a customer's answers come in their order, and the last one again and again; one that takes longer than the
time-out, or is larger than allowed, fails as it would with the real library.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from urllib.parse import parse_qs, urlsplit

from enricher.history.engine import Fields, Reply, timed_out, too_large
from enricher.model import FailureKind, LookupFailure
from enricher.testing.cases.model import ANY, Answer


class ScriptedEngine:
    """``enricher.history.engine.Engine`` that answers by itself.

    Args:
        answers: of each customer, in their order; of ``*``, those of all others. Without any, no offers.
        timeout: seconds for one answer.
        max_response: bytes of one answer.
    """

    def __init__(self, answers: Mapping[str, tuple[Answer, ...]], timeout: float, max_response: int) -> None:
        self._answers = answers
        self._timeout = timeout
        self._max_response = max_response
        self._scripts: dict[str, Iterator[Answer]] = {}

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """See ``enricher.history.engine.Engine``."""
        del headers
        answer = self._next(_customer(url, content))
        late = answer.after >= self._timeout or answer.fails == "timeout"
        await asyncio.sleep(self._timeout if late else answer.after)
        if late:
            raise timed_out(self._timeout)
        if answer.fails:
            raise LookupFailure(FailureKind.CONNECTION, "the request did not come through (as the test has it)")
        body = answer.content
        if len(body) > self._max_response:
            raise too_large(self._max_response)
        return Reply(answer.status, body, answer.content_type, None, answer.retry_after)

    async def close(self) -> None:
        """Nothing to close."""

    def _next(self, customer: str) -> Answer:
        if customer not in self._scripts:
            answers = self._answers.get(customer) or self._answers.get(ANY) or (Answer(),)
            several = chain.from_iterable(repeat(answer, answer.times) for answer in answers)
            self._scripts[customer] = chain(several, repeat(answers[-1]))
        return next(self._scripts[customer])


def _customer(url: str, content: bytes | None) -> str:
    """Whom a request asks for."""
    if content is not None:
        return str(json.loads(content)["CustomerID"])
    return parse_qs(urlsplit(url).query, keep_blank_values=True)["CustomerID"][-1]
