"""Fetches schemas for the pipeline, while the events that need them wait.

Invariants: a key is asked for until there is an answer, however long the registry is away; one request is under way at
a time, on a thread of its own; that there is no such schema is believed after several tries and for a while, as a
replica of a registry may lag behind the one that gave the id out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Thread
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from enricher.codec.framing import SchemaKey, words_of
from enricher.codec.writer_schemas import KnownSchemas, WriterSchema
from enricher.registry.client import RegistryAway, RegistryError, RegistryRefused
from enricher.stats import Stats

log = structlog.get_logger(__name__)

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 10.0
TRIES: Final = 3
"""Answers that there is no such schema, until it is believed."""

BELIEVED: Final = 60.0
"""Seconds for which it is."""


Ask: TypeAlias = Callable[[SchemaKey], WriterSchema | None]

Q = TypeVar("Q")
A = TypeVar("A")


async def on_a_thread(ask: Callable[[Q], A], question: Q) -> A:
    """Ask on a thread of its own, which dies with the program: a registry that hangs does not keep a worker."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[A] = loop.create_future()

    def run() -> None:
        try:
            answer = ask(question)
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            tell(done.set_exception, error)
        else:
            tell(done.set_result, answer)

    def tell(how: Callable[[Any], None], what: A | Exception) -> None:
        with suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(lambda: None if done.cancelled() else how(what))

    Thread(target=run, name="schema-registry", daemon=True).start()
    return await done


class Fetcher:
    """Asks the registry.

    Args:
        ask: the schema of a key, or none if there is none; blocks, and raises ``RegistryError``.
        known: told of what is found.
        stats: where to count.
        run: calls what blocks without blocking the event loop.
    """

    def __init__(
        self,
        ask: Ask,
        known: KnownSchemas,
        stats: Stats,
        run: Callable[[Ask, SchemaKey], Awaitable[WriterSchema | None]] = on_a_thread,
    ) -> None:
        self._ask = ask
        self._run = run
        self._known = known
        self._stats = stats
        self._one = asyncio.Lock()

    async def fetch(self, key: SchemaKey) -> None:
        """Return when it is known what the key stands for, or that it stands for nothing."""
        wait, denials = FIRST_WAIT, 0
        while True:
            async with self._one:
                if self._known.knows(key):  # somebody else has asked meanwhile
                    return
                try:
                    schema = await self._run(self._ask, key)
                except RegistryError as error:
                    if isinstance(error, RegistryRefused) and not error.denied:
                        schema = None
                    else:
                        self._failed(key, error)
                        denials = -1
                else:
                    if schema is not None:
                        self._found(key, schema)
                        return
                denials += 1
                if denials >= TRIES:
                    self._missing(key)
                    return
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT) if denials == 0 else FIRST_WAIT

    def _found(self, key: SchemaKey, schema: WriterSchema) -> None:
        self._stats.schemas_fetched += 1
        self._known.add(key, schema)
        log.info("schema_fetched", schema=words_of(key), kind=schema.kind)

    def _failed(self, key: SchemaKey, error: RegistryError) -> None:
        self._stats.registry_failures += 1
        away = isinstance(error, RegistryAway)
        log.warning("schema_registry_unavailable", schema=words_of(key), away=away, reason=str(error))

    def _missing(self, key: SchemaKey) -> None:
        self._known.refuse(key, f"the schema registry knows no schema {words_of(key)}")
        log.warning("schema_unknown", schema=words_of(key))
        asyncio.get_running_loop().call_later(BELIEVED, self._known.forget, key)
