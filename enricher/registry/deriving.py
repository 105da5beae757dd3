"""Finds out for the pipeline how derived outputs tell their schemas, while the events that need them wait.

Invariants: a schema that is not registered yet, and could be, is waited for, as somebody has to register it, and so is
a registry that is away; one that the registry does not take makes dead letters, and is asked for again after a while.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog

from enricher.codec.derived import DerivedOutputs, DerivedSchema
from enricher.codec.framing import Framing, SchemaKey, words_of
from enricher.model import Rejected
from enricher.registry.client import RegistryAway, RegistryError, RegistryLacks, RegistryRefused
from enricher.registry.fetcher import BELIEVED, FIRST_WAIT, LONGEST_WAIT, Fetcher, on_a_thread
from enricher.stats import Stats

log = structlog.get_logger(__name__)

REFUSED: Final = "SchemaRefused"
"""The cause of dead letters whose outputs' schema a registry does not take."""

AskFraming: TypeAlias = Callable[[DerivedSchema], Framing]


class DerivedFetcher:
    """Asks the registry. Fits ``enricher.intake.SchemaFetcher``.

    Args:
        inputs: asks for the schemas of inputs.
        ask: how outputs tell a schema; blocks, and raises ``RegistryError``.
        outputs: told of what is found.
        stats: where to count.
        run: calls what blocks without blocking the event loop.
    """

    def __init__(
        self,
        inputs: Fetcher,
        ask: AskFraming,
        outputs: DerivedOutputs,
        stats: Stats,
        run: Callable[[AskFraming, DerivedSchema], Awaitable[Framing]] = on_a_thread,
    ) -> None:
        self._inputs = inputs
        self._ask = ask
        self._run = run
        self._outputs = outputs
        self._stats = stats
        self._one = asyncio.Lock()

    async def fetch(self, key: SchemaKey) -> None:
        """Return when it is known how outputs of inputs with this schema are written, or that none can be."""
        if not self._outputs.is_in_files(key):
            await self._inputs.fetch(key)
        wait = FIRST_WAIT
        while not await self._asked(key):
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _asked(self, key: SchemaKey) -> bool:
        """Ask once; whether there is no more to ask."""
        async with self._one:
            try:
                schema = self._outputs.missing(key)
            except Rejected:  # there is no such input
                return True
            if schema is None:
                return True
            try:
                framing = await self._run(self._ask, schema)
            except RegistryError as error:
                return self._failed(key, error)
            self._outputs.add(key, schema, framing)
            log.info("output_schema_known", schema=words_of(key), name=schema.name)
            return True

    def _failed(self, key: SchemaKey, error: RegistryError) -> bool:
        self._stats.registry_failures += 1
        lacks = isinstance(error, RegistryLacks)
        if isinstance(error, RegistryRefused) and not error.denied and not lacks:
            self._outputs.refuse(key, REFUSED, str(error))
            log.warning("output_schema_refused", schema=words_of(key), reason=str(error))
            asyncio.get_running_loop().call_later(BELIEVED, self._outputs.forget, key)
            return True
        if lacks:
            log.warning("output_schema_missing", schema=words_of(key), reason=str(error))
        else:
            away = isinstance(error, RegistryAway)
            log.warning("schema_registry_unavailable", schema=words_of(key), away=away, reason=str(error))
        return False
