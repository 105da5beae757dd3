"""A short run of each guarantee, with a schedule that is always the same; ``make chaos`` has longer and other ones."""

import pytest

from tests.chaos.__main__ import FOLDER
from tests.chaos.run import command, play
from tests.chaos.schedule import schedule
from tests.harness.broker import KafkaBroker

SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("guarantee", "seed"), [("at-least-once", 1), ("exactly-once", 2)])
def test_nothing_is_lost_whatever_fails(guarantee: str, seed: int, private_kafka: KafkaBroker) -> None:
    """Nothing is missing, out of order or changed; under exactly-once nothing is there twice."""
    plan = schedule(seed, SECONDS)
    folder = FOLDER / f"{guarantee}-{seed}"
    outcome = play(plan, guarantee, private_kafka, folder, 400.0)
    assert not outcome.wrong, "\n".join([outcome.summary, *outcome.wrong, f"logs: {folder}", command(plan, guarantee)])
