"""How far a long command is, in words."""

import pytest

from enricher.cli.progress import WINDOW, Figures, Meter, Pace, clock, describe, progress, share


def test_the_pace_is_that_of_the_last_seconds() -> None:
    """What was fast a minute ago does not count; nothing is said of the time left where nothing moves."""
    meter = Meter()
    assert meter.pace(Figures(0, 1_000), 0.0) == Pace(0.0, None)
    assert meter.pace(Figures(500, 1_000, 400), 10.0) == Pace(40.0, 10.0)
    paces = [meter.pace(Figures(500, 1_000, 400), 11.0 + second) for second in range(2 * int(WINDOW))]
    assert paces[-1] == Pace(0.0, None)
    assert meter.pace(Figures(600, 1_000, 480), 41.0).rate < 80


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0.2, "0:00"), (61, "1:01"), (3_599.9, "1:00:00"), (7_325, "2:02:05")]
)
def test_durations_are_clocks(seconds: float | None, text: str) -> None:
    """Minutes and seconds, and hours where there are any."""
    assert clock(seconds) == text


def test_figures_in_words() -> None:
    """What did not happen is not told."""
    assert describe(Figures(1, 2, 12_345), Pace(1_234.4, 12.0)) == "12,345 events, 1,234/s, 0:12 left"
    told = describe(Figures(1, 2, 5, 3, 7), Pace(0.0, None))
    assert told == "5 events, 0/s, -:-- left, 3 failed, 7 retries"
    assert [share(Figures(done, 200)) for done in (0, 199, 200)] == [0, 99, 100]
    assert share(Figures(0, 0)) == 100


def test_without_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one for each time that it is told."""
    now = 100.0
    monkeypatch.setattr("enricher.cli.progress.time.monotonic", lambda: now)
    with progress("replay x") as tell:
        for second in range(25):
            now = 100.0 + second
            tell(Figures(second * 10, 1_000, second * 5))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "replay x: 10 % (100 of 1,000 offsets), 50 events, 5/s, 1:30 left",
        "replay x: 20 % (200 of 1,000 offsets), 100 events, 5/s, 1:20 left",
    ]
