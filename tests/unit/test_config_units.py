"""Durations and sizes: what people write, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from enricher.config.units import MAX_DURATION, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5.0), ("2m", 120.0), ("1h", 3600.0), ("1.5s", 1.5), (" 5s ", 5.0), ("168h", MAX_DURATION)],
)
def test_durations(text: str, seconds: float) -> None:
    """Each unit means what it says."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65536), ("1MiB", 1 << 20), ("1GiB", 1 << 30), ("10MB", 10**7), ("3kB", 3000), (77, 77)],
)
def test_sizes(text: str | int, size: int) -> None:
    """Binary and decimal units differ; a bare number is bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("wrong", ["5", 5, 0.5, "5 s", "s", "", "5S", "-1s", "1e3s", "0s", "169h", True, None, "5s2m"])
def test_what_is_no_duration_is_refused_with_a_hint(wrong: object) -> None:
    """Nothing is guessed, least of all a unit."""
    with pytest.raises(PydanticCustomError) as error:
        parse_duration(wrong)
    assert error.value.context is not None
    assert error.value.context["hint"]


def test_a_bare_number_is_told_what_it_may_have_meant() -> None:
    """The most frequent mistake has its own hint."""
    with pytest.raises(PydanticCustomError) as error:
        parse_duration(5)
    assert error.value.context == {
        "message": "is a number without a unit",
        "hint": "write 5s for seconds or 5ms for milliseconds",
    }


@pytest.mark.parametrize("wrong", ["64K", "1.5KiB", "-1", 0, "0B", "KiB", "", True, None, 1.0, "64kib", "1 MiB"])
def test_what_is_no_size_is_refused_with_a_hint(wrong: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(PydanticCustomError) as error:
        parse_size(wrong)
    assert error.value.context is not None
    assert error.value.context["hint"]


@given(st.integers(1, int(MAX_DURATION * 1000)))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    """Format is the inverse of parse, whatever unit it chooses."""
    seconds = parse_duration(f"{milliseconds}ms")
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(1, 1 << 50))
def test_a_size_survives_being_written(size: int) -> None:
    """Format is the inverse of parse, whatever unit it chooses."""
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "100ms"), (5.0, "5s"), (90.0, "90s"), (120.0, "2m"), (7200.0, "2h"), (0.0005, "0.5ms")]
)
def test_the_largest_unit_that_is_exact_is_chosen(seconds: float, text: str) -> None:
    """People read the value that they wrote."""
    assert format_duration(seconds) == text
