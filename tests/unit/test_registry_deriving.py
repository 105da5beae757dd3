"""How outputs tell a derived schema is found out however long that takes, and what never can be makes dead letters."""

import asyncio
from collections.abc import Callable

from enricher.codec.derived import DerivedOutputs, DerivedSchema
from enricher.codec.framing import Framing, SchemaKey, fingerprint_of
from enricher.codec.writer_schemas import KnownSchemas, WriterSchema
from enricher.registry import DerivedFetcher, Fetcher, RegistryAway, RegistryLacks, RegistryRefused
from enricher.registry.fetcher import BELIEVED
from enricher.stats import Stats
from tests.avro_strategies import record
from tests.unit.test_registry_fetcher import Script as Inputs
from tests.unit.test_registry_fetcher import at_once as inputs_at_once
from tests.virtual_time import run_virtual

CALL = record(("customerId", "string"), name="Call")
FRAMING = Framing.prefixed(9)
Answer = Framing | Exception


class Script:
    """A registry that answers one thing after the other, the last for ever."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.times: list[float] = []

    def __call__(self, schema: DerivedSchema) -> Framing:
        """Answer."""
        assert schema.name == "Call"
        self.times.append(asyncio.get_running_loop().time())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def at_once(ask: Callable[[DerivedSchema], Framing], schema: DerivedSchema) -> Framing:
    """In place of a thread."""
    await asyncio.sleep(0.05)
    return ask(schema)


class World:
    """What asks a registry of one schema for the input, or of none, and this script for the output."""

    def __init__(self, *answers: Answer, there: bool = True) -> None:
        self.stats, self.script = Stats(), Script(*answers)
        known = KnownSchemas()
        self.inputs = Inputs(WriterSchema("AVRO", CALL) if there else None)
        inputs = Fetcher(self.inputs, known, self.stats, inputs_at_once)
        self.outputs = DerivedOutputs({fingerprint_of(CALL): CALL}, known)
        self.fetcher = DerivedFetcher(inputs, self.script, self.outputs, self.stats, at_once)

    def run(self, *keys: SchemaKey) -> None:
        """Fetch for these at the same time."""

        async def main() -> None:
            await asyncio.gather(*map(self.fetcher.fetch, keys))

        run_virtual(main())

    @property
    def waits(self) -> list[float]:
        """Between the questions."""
        return [after - before for before, after in zip(self.script.times, self.script.times[1:], strict=False)]


def test_many_wait_for_one_answer() -> None:
    """The input's schema is asked for first, and each once."""
    world = World(FRAMING)
    world.run(7, 7, 7)
    assert (len(world.inputs.times), len(world.script.times)) == (1, 1)
    assert world.outputs.missing(7) is None


def test_a_schema_of_a_file_is_not_asked_for() -> None:
    """What is derived of it is."""
    world = World(FRAMING, there=False)
    world.run(fingerprint_of(CALL))
    assert (len(world.inputs.times), len(world.script.times)) == (0, 1)


def test_what_is_not_there_yet_is_waited_for() -> None:
    """As an outage is, and credentials that are refused are: ever more slowly."""
    denied = RegistryRefused("401", denied=True)
    world = World(*[RegistryLacks("publish it")] * 10, *[RegistryAway("away")] * 10, denied, FRAMING)
    world.run(7)
    assert (world.waits[0] < 0.3, 10 < world.waits[-1] < 11) == (True, True)
    assert world.stats.registry_failures == 21
    assert world.outputs.missing(7) is None


def test_what_the_registry_does_not_take_makes_dead_letters() -> None:
    """For a while; then it is asked for again."""
    world = World(RegistryRefused("it is incompatible"), FRAMING)

    async def main() -> None:
        await world.fetcher.fetch(7)
        assert world.outputs.missing(7) is None
        await asyncio.sleep(BELIEVED + 1)
        assert world.outputs.missing(7) is not None
        await world.fetcher.fetch(7)

    run_virtual(main())
    assert (len(world.script.times), world.outputs.missing(7)) == (2, None)


def test_of_no_input_nothing_is_derived() -> None:
    """The decoder says what is wrong."""
    world = World(FRAMING, there=False)
    world.run(7)
    assert (len(world.inputs.times), len(world.script.times)) == (3, 0)
