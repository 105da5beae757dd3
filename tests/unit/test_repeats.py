"""Which log lines are held back."""

from enricher.repeats import BURST, KINDS, WINDOW, Repeats, kind_of


def test_a_burst_passes_and_the_rest_waits_for_the_next_window() -> None:
    """The first line after the window tells how many there were."""
    repeats = Repeats()
    said = [repeats.held_before(("a",), 100.0) for _ in range(BURST + 3)]
    assert said == [0] * BURST + [None] * 3
    assert repeats.held_before(("a",), 100.0 + WINDOW - 0.1) is None
    assert repeats.held_before(("a",), 100.0 + WINDOW) == 4
    assert repeats.held_before(("a",), 100.0 + WINDOW) == 0


def test_kinds_do_not_hold_each_other_back() -> None:
    """However often one comes."""
    repeats = Repeats()
    for _ in range(100):
        repeats.held_before(("a",), 1.0)
    assert repeats.held_before(("b",), 1.0) == 0


def test_memory_is_bounded() -> None:
    """The kind that was longest not met is forgotten; one that keeps coming is not."""
    repeats = Repeats()
    for _ in range(BURST):
        repeats.held_before(("often",), 1.0)
    for number in range(3 * KINDS):
        repeats.held_before((str(number),), 1.0)
        assert repeats.held_before(("often",), 1.0) is None
    assert len(repeats._kinds) == KINDS


def test_the_kind_of_a_line() -> None:
    """Numbers do not tell lines apart; level, code, kind and the like do."""
    assert kind_of("error", "failed after 12 ms", {}) == kind_of("error", "failed after 1 ms", {})
    kinds = {
        kind_of("error", "x", {}),
        kind_of("info", "x", {}),
        kind_of("error", "x", {"code": "A"}),
        kind_of("error", "x", {"code": "B"}),
        kind_of("error", "x", {"kind": "A"}),
        kind_of("error", "x", {"logger": "l"}),
    }
    assert len(kinds) == 6
