"""How ``enricher check`` shows what it found."""

import pytest

from enricher.cli.check import _print
from enricher.cli.finding import Finding


def test_a_finding_of_several_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What belongs to it is indented, as what to do is."""
    _print(
        [Finding("registry", False, "it does not go:\n- a: b\n- c: d", "do this"), Finding("topics", True, "are there")]
    )
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "[wrong] registry: it does not go:",
        "    - a: b",
        "    - c: d",
        "    do this",
        "[ok] topics: are there",
    ]
