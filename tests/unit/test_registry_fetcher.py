"""Schemas are fetched however long the registry is away, once, and a schema that is not there is asked for again."""

import asyncio
from collections.abc import Callable

from enricher.codec.framing import SchemaKey
from enricher.codec.writer_schemas import KnownSchemas, WriterSchema
from enricher.registry import Fetcher, RegistryAway, RegistryRefused
from enricher.registry.fetcher import BELIEVED
from enricher.stats import Stats
from tests.virtual_time import run_virtual

SCHEMA = WriterSchema("AVRO", "string")
Answer = WriterSchema | Exception | None


class Script:
    """A registry that answers one thing after the other, the last for ever."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.times: list[float] = []

    def __call__(self, _key: SchemaKey) -> WriterSchema | None:
        """Answer."""
        self.times.append(asyncio.get_running_loop().time())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def at_once(ask: Callable[[SchemaKey], WriterSchema | None], key: SchemaKey) -> WriterSchema | None:
    """In place of a thread."""
    await asyncio.sleep(0.05)
    return ask(key)


def test_many_wait_for_one_answer() -> None:
    """It is asked for once."""

    async def main() -> None:
        known, script, stats = KnownSchemas(), Script(SCHEMA), Stats()
        fetcher = Fetcher(script, known, stats, at_once)
        await asyncio.gather(*(fetcher.fetch(7) for _ in range(5)))
        assert (len(script.times), stats.schemas_fetched, known.get(7)) == (1, 1, SCHEMA)

    run_virtual(main())


def test_an_outage_is_waited_for() -> None:
    """However long, ever more slowly; it is no schema that there is not. Credentials that are refused count as one."""

    async def main() -> None:
        away: list[Answer] = [RegistryAway("away")] * 20 + [RegistryRefused("no", denied=True)] * 20
        known, script, stats = KnownSchemas(), Script(*away, SCHEMA), Stats()
        await Fetcher(script, known, stats, at_once).fetch(7)
        waits = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
        assert (waits[0] < 0.3, 10 < waits[-1] < 11) == (True, True)
        assert (stats.registry_failures, stats.schemas_fetched) == (40, 1)

    run_virtual(main())


def test_what_is_not_there_is_believed_for_a_while() -> None:
    """After some tries, as a replica may lag behind; later it is asked for again."""

    async def main() -> None:
        known, script = KnownSchemas(), Script(None, RegistryRefused("422"), None, SCHEMA)
        fetcher = Fetcher(script, known, Stats(), at_once)
        await fetcher.fetch(7)
        assert (len(script.times), known.knows(7)) == (3, True)
        await asyncio.sleep(BELIEVED + 1)
        assert not known.knows(7)
        await fetcher.fetch(7)
        assert known.get(7) == SCHEMA

    run_virtual(main())


def test_an_outage_between_denials_starts_them_anew() -> None:
    """Only denials in a row count."""

    async def main() -> None:
        known, script = KnownSchemas(), Script(None, None, RegistryAway("away"), None, None, SCHEMA)
        await Fetcher(script, known, Stats(), at_once).fetch(7)
        assert known.get(7) == SCHEMA

    run_virtual(main())
