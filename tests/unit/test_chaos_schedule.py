"""The schedules of the chaos runs: reproducible, whole again at the end, and of everything that can happen."""

from collections import Counter

import pytest

from tests.chaos.feed import events
from tests.chaos.schedule import BASE_FAULTS, SLOTS, Act, Schedule, schedule
from tests.chaos.stage import _faults

SEEDS = range(60)
PLANS = {seed: schedule(seed, 60.0) for seed in SEEDS}

ENDS = {
    Act.KILL: {Act.START},
    Act.FREEZE: {Act.THAW},
    Act.BROKER_STOP: {Act.BROKER_START},
    Act.BROKER_KILL: {Act.BROKER_START},
    Act.BROKER_PAUSE: {Act.BROKER_UNPAUSE},
    Act.DEAD_SHUT: {Act.DEAD_OPEN},
    Act.OUTPUT_SHUT: {Act.OUTPUT_OPEN},
}
"""What makes whole again what each act breaks; a worker that is stopped may stay away."""


def test_a_seed_gives_one_schedule() -> None:
    """Whenever and wherever it is drawn; another seed gives another."""
    assert {seed: schedule(seed, 60.0) for seed in SEEDS} == PLANS
    assert len({plan.describe() for plan in PLANS.values()}) == len(SEEDS)


def test_everything_happens_in_some_schedule() -> None:
    """Every act, both protocols, static and other members, events of now and of long ago."""
    acts = Counter(step.act for plan in PLANS.values() for step in plan.steps)
    assert set(acts) == set(Act)
    assert {(plan.protocol, plan.static, plan.start == 0) for plan in PLANS.values()} == {
        (protocol, static, now)
        for protocol in ("classic", "consumer")
        for static in (True, False)
        for now in (True, False)
    }


@pytest.mark.parametrize("plan", PLANS.values(), ids=lambda plan: f"seed-{plan.seed}")
def test_a_schedule_makes_sense(plan: Schedule) -> None:
    """In order; what is broken is made whole before it is broken again; workers are left at the end."""
    assert [step.at for step in plan.steps] == sorted(step.at for step in plan.steps)
    broken: dict[tuple[str, int | None], set[Act]] = {}
    wanted = set(range(plan.workers))
    for step in plan.steps:
        what = (step.act.name.split("_")[0] if step.slot is None else "WORKER", step.slot)
        if step.act in ENDS:
            assert not broken.get(what), step
            broken[what] = ENDS[step.act]
        elif what in broken and step.act in broken[what]:
            del broken[what]
        elif step.act is Act.STOP and step.slot is not None:
            assert not broken.get(what), step
        if step.slot is not None:
            assert 0 <= step.slot < SLOTS
            if step.act in (Act.START, Act.KILL, Act.STOP):
                (wanted.add if step.act is Act.START else wanted.discard)(step.slot)
    assert not broken
    assert wanted
    assert plan.describe().count("\n") == len(plan.steps)


@pytest.mark.parametrize("plan", PLANS.values(), ids=lambda plan: f"seed-{plan.seed}")
def test_the_service_is_well_at_the_end(plan: Schedule) -> None:
    """The faults are ones that the service knows, and the last ones are none but the usual."""
    faults = [step.faults for step in plan.steps if step.act is Act.SERVICE]
    for fault in faults:
        assert fault is not None
        _faults(fault)
    assert not faults or faults[-1] == BASE_FAULTS


def test_a_seed_gives_one_input() -> None:
    """The same events again; some broken, some large, some without a key."""
    first, again = events(7, 0), events(7, 0)
    made = [next(first) for _ in range(3_000)]
    assert made == [next(again) for _ in range(3_000)]
    assert sum(sent.key is None for sent in made) > 10
    assert sum(len(sent.value or b"") > 2_500 for sent in made) > 10
