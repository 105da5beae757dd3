"""What an output says of its history: which instant it is as of, and how old it is."""

import asyncio

from enricher.as_of import AsOf
from enricher.model import Offer
from tests.pipeline_world import World, run_world


def test_a_history_is_as_of_its_event_where_one_says_so() -> None:
    """What was recorded later is left out, and an event from before everything has no history."""

    async def main() -> None:
        await asyncio.sleep(2.0)
        for as_of, expected in ((AsOf.NOW, (3, "ENRICHED")), (AsOf.EVENT, (1, "ENRICHED"))):
            world = World()
            # Events of the world are of the instant 1,000.
            world.client.histories["a"] = tuple(Offer(outcome_time=time) for time in (1_000, 1_001, None))
            world.client.histories["new"] = (Offer(outcome_time=1_001),)
            world.send("a")
            world.send("new")
            worker = world.worker(as_of=as_of)
            await world.all_resolved()
            await worker.stop()
            first, second = sorted(world.outputs)
            assert (first.offers, first.status) == expected
            assert second.status == ("ENRICHED" if as_of is AsOf.NOW else "NO_HISTORY")
            assert first.as_of == (first.looked_up_at if as_of is AsOf.NOW else 1_000)

    run_world(main)
