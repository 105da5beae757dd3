"""What faults and latencies can be said, and what is refused; no service runs here."""

from random import Random
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.testing.faults import RATED, Behaviour, Faults, Kind, Outcome
from enricher.testing.latency import Latency, parse_duration
from enricher.testing.plan import Planner


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5), ("2m", 120), ("1h", 3600), ("100us", 0.0001), ("1.5s", 1.5), (" 20 ms ", 0.02)],
)
def test_durations(text: str, seconds: float) -> None:
    """Durations are written as in the settings."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "ms", "-5s", "5 parsecs", "1e3s", "5s5s", "uniform", "٣s5"])
def test_what_is_no_duration(text: str) -> None:
    """The error says how one is written."""
    with pytest.raises(ValueError, match="write it as 250ms, 5s or 2m"):
        parse_duration(text)


def samples(text: str) -> list[float]:
    """Many draws of one latency."""
    latency, rng = Latency.parse(text), Random(1)
    return [latency.sample(rng) for _ in range(5000)]


def test_latency_distributions() -> None:
    """Each has the shape of its name, and none is negative."""
    assert set(samples("20ms")) == {0.02}
    uniform = samples("uniform:10ms,30ms")
    assert 0.01 <= min(uniform) < 0.011
    assert 0.029 < max(uniform) <= 0.03
    normal = samples("normal:20ms,5ms")
    assert median(normal) == pytest.approx(0.02, rel=0.05)
    assert sum(0.015 < value < 0.025 for value in normal) / len(normal) == pytest.approx(0.683, abs=0.03)
    assert min(samples("normal:1ms,50ms")) == 0
    lognormal = samples("lognormal:20ms,0.5")
    assert median(lognormal) == pytest.approx(0.02, rel=0.05)
    assert sorted(lognormal)[int(len(lognormal) * 0.99)] > 0.055  # a long tail: e^(0.5 * 2.33) times the median


@pytest.mark.parametrize(
    "text", ["gamma:1ms,2ms", "uniform:1ms", "uniform:3ms,1ms", "lognormal:20ms,x", "lognormal:20ms,-1",
             "fixed:1ms,2ms", "lognormal:20ms,inf", "normal:,", ":"]
)  # fmt: skip
def test_what_is_no_latency(text: str) -> None:
    """Every other text is refused."""
    with pytest.raises(ValueError, match="write"):
        Latency.parse(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency": "fast"}, "latency: 'fast' is not a duration"),
        ({"status": {"200": 0.5}}, "'200' is not a status"),
        ({"status": {"abc": 0.5}}, "'abc' is not a status"),
        ({"status": {"600": 0.5}}, "'600' is not a status"),
        ({"status": {"503": 2}}, "the rate of status 503 is 2"),
        ({"reset": -0.1}, "the rate of reset is -0.1"),
        ({"hang": float("nan")}, "the rate of hang is nan"),
        ({"reset": 0.6, "html": 0.6}, "the rates add up to 1.2"),
        ({"script": ["boom"]}, "script: 'boom' is not an outcome"),
        ({"script": ["status"]}, "script: 'status' is not an outcome"),
        ({"retry_after": -1}, "retry_after: write seconds"),
        ({"retry_after": "tomorrow"}, "retry_after: 'tomorrow' is not a duration"),
        ({"retry_after": "date:x"}, "retry_after: 'x' is not a duration"),
        ({"slow_body_speed": 0}, "slow_body_speed"),
        ({"oversize_bytes": 2**40}, "oversize_bytes"),
        ({"capacity": 0}, "capacity must be at least 1"),
        ({"queue_limit": 5}, "queue_limit must be 0 or more"),
        ({"queue_limit": -1, "capacity": 1}, "queue_limit must be 0 or more"),
    ],
)
def test_senseless_faults_are_refused(options: dict[str, Any], message: str) -> None:
    """Whether they come from Python or from JSON, the error names the field."""
    with pytest.raises(ValueError, match=message):
        Faults(**options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ('{"speed": 0.1}', "unknown field `speed`"),
        ('{"reset": "often"}', "Expected `float`, got `str` - at `$.reset`"),
        ('{"reset": 7}', "the rate of reset is 7"),
        ('{"down": "maybe"}', r"Invalid enum value 'maybe' - at `\$.down`"),
        ('{"error_body": "xml"}', "error_body"),
        ('{"customers": {"SECRET-7": {"hang": 2}}}', r"the rate of hang is 2.0.* - at `\$.customers"),
        ('{"customers": {"SECRET-7": {"capacity": 2}}}', "unknown field `capacity`"),
    ],
)
def test_bad_json_is_refused_with_its_place(text: str, message: str) -> None:
    """The error says what and where, without a customer's id."""
    with pytest.raises(ValueError, match=message.replace("$.reset", r"\$.reset")) as caught:
        Faults.from_json(text)
    assert str(caught.value).startswith("not valid faults: ")
    assert "SECRET" not in str(caught.value)


rates = st.floats(0, 0.1)
behaviours: dict[str, st.SearchStrategy[Any]] = {
    "latency": st.sampled_from(["0s", "20ms", "lognormal:20ms,0.5"]),
    "status": st.dictionaries(st.integers(201, 599).map(str), st.floats(0, 0.03), max_size=3),
    "retry_after": st.none() | st.integers(0, 100) | st.sampled_from(["5", "5s", "date:5s"]),
    "script": st.lists(st.sampled_from(["ok", "503", *RATED])).map(tuple),
    **{kind.value: rates for kind in RATED},
}
faults = st.builds(
    Faults,
    **behaviours,
    customers=st.dictionaries(st.text(), st.builds(Behaviour, **behaviours), max_size=3),
    capacity=st.none() | st.integers(1, 100),
    down=st.sampled_from([True, False, "refuse", "reset"]),
    seed=st.integers(-(2**63), 2**63),
)


@given(scripted=faults)
def test_faults_come_through_json_unchanged(scripted: Faults) -> None:
    """What GET /faults says can be PUT back."""
    assert Faults.from_json(scripted.to_json()) == scripted


@given(scripted=faults, customers=st.lists(st.sampled_from("ABC"), max_size=30))
def test_plans_repeat(scripted: Faults, customers: list[str]) -> None:
    """The same faults and the same requests give the same plans, and only what has a rate or a step happens."""
    first, second = Planner(scripted), Planner(scripted)
    plans = [first.plan(customer) for customer in customers]
    assert plans == [second.plan(customer) for customer in customers]
    for plan in plans:
        allowed = [outcome for outcome, _ in plan.behaviour.rates()] + plan.behaviour.steps() + [Outcome(Kind.OK)]
        assert plan.outcome in allowed
        assert plan.delay >= 0


@pytest.mark.parametrize("kind", RATED)
def test_a_rate_of_one_is_always(kind: Kind) -> None:
    """No request escapes a rate of 1."""
    planner = Planner(Faults(**{kind.value: 1}))  # type: ignore[arg-type] # the name is known only at run time
    assert {planner.plan("A").outcome for _ in range(200)} == {Outcome(kind)}
