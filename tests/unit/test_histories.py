"""The histories that the service serves: generated, from a file, from Python values."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.testing.histories import EMPTY, FixedHistories, GeneratedHistories, pretty

SAMPLE = Path(__file__).parents[1] / "data/service/response.json"
KEYS = [
    "Name", "Issue", "Channel", "InteractionID", "ExternalID", "OutcomeTime", "Behaviour", "Outcome", "Identifier",
    "Direction", "Group",
]  # fmt: skip
BUNDLE_KEYS = [*KEYS[:7], "OfferHistory", *KEYS[7:]]

PINNED = {
    "Name": "MusicTrial",
    "Issue": "Content",
    "Channel": "Web",
    "InteractionID": "-5703904274182345371",
    "ExternalID": "",
    "OutcomeTime": "20251007T194619.770 GMT",
    "Behaviour": "Positive",
    "Outcome": "Accepted",
    "Identifier": "/Content/Video/MusicTrial",
    "Direction": "Inbound",
    "Group": "Video",
}


def write(path: Path, *lines: str) -> Path:
    """A JSON-lines file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_generated_history_never_changes() -> None:
    """Outputs that were written down anywhere stay reproducible: this text is a promise."""
    first = json.loads(GeneratedHistories(bundle_rate=0).body("CONNOR"))["OfferHistory"][0]
    assert first == PINNED


def test_another_process_generates_the_same() -> None:
    """The hash seed of a process plays no part."""
    code = (
        "import sys; from enricher.testing.histories import GeneratedHistories;"
        "sys.stdout.buffer.write(GeneratedHistories().body('C-1'))"
    )
    bodies = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert bodies == {GeneratedHistories().body("C-1")}


@given(customer=st.text(), seed=st.integers(), offers=st.integers(0, 40))
def test_generated_offers_have_the_documented_form(customer: str, seed: int, offers: int) -> None:
    """Whatever the customer: key order, strings, 64-bit ids, real times, newest first, an identifier that fits."""
    made = GeneratedHistories(offers=offers, bundle_rate=0.5, seed=seed).body(customer)
    history = json.loads(made)
    assert list(history) == ["OfferHistory"]
    assert len(history["OfferHistory"]) == offers
    times = []
    for offer in history["OfferHistory"]:
        bundle = offer.get("OfferHistory")
        assert list(offer) == (KEYS if bundle is None else BUNDLE_KEYS)
        assert all(isinstance(value, str) for name, value in offer.items() if name != "OfferHistory")
        assert -(2**63) <= int(offer["InteractionID"]) < 2**63
        assert offer["Identifier"] == f"/{offer['Issue']}/{offer['Group']}/{offer['Name']}"
        times.append(datetime.strptime(offer["OutcomeTime"], "%Y%m%dT%H%M%S.%f %Z"))  # noqa: DTZ007  GMT is told
        assert len(offer["OutcomeTime"]) == len("20160225T125501.526 GMT")
        if bundle is not None:
            assert offer["Name"] == "Negotiation"
            assert [list(nested) for nested in bundle] == [["Name"]] * len(bundle)
            assert 2 <= len(bundle) <= 4
    assert times == sorted(times, reverse=True)
    # Written compactly, and nothing else than an encoder would write.
    assert made == json.dumps(history, separators=(",", ":")).encode()


def test_ten_offers_weigh_what_they_do_in_the_field() -> None:
    """About 2.8 kB, so that a benchmark's traffic is realistic."""
    histories = GeneratedHistories()
    sizes = [len(histories.body(f"CUST-{number}")) for number in range(500)]
    assert 2700 <= sum(sizes) / len(sizes) <= 2950


def test_shares_and_counts_are_kept() -> None:
    """Unknown customers, bundle records and the range of counts come as often as was asked."""
    histories = GeneratedHistories(offers=(1, 4), unknown_rate=0.2, bundle_rate=0.5)
    bodies = [histories.body(f"CUST-{number}") for number in range(2000)]
    known = [body for body in bodies if body != EMPTY]
    assert 0.17 < 1 - len(known) / len(bodies) < 0.23
    assert 0.46 < sum(b'"Negotiation"' in body for body in known) / len(known) < 0.54
    assert {len(json.loads(body)["OfferHistory"]) for body in known} == {1, 2, 3, 4}


def test_values_vary() -> None:
    """External ids are there or empty, ids have both signs, outcomes are of several kinds."""
    offers = json.loads(GeneratedHistories(offers=200, bundle_rate=0).body("CUST-1"))["OfferHistory"]
    assert {offer["ExternalID"] == "" for offer in offers} == {True, False}
    assert {offer["InteractionID"].startswith("-") for offer in offers} == {True, False}
    assert {"Accepted", "Rejected", "Impression", "Clicked"} <= {offer["Outcome"] for offer in offers}
    assert {offer["Behaviour"] for offer in offers} == {"Positive", "Negative", "Neutral"}


def test_seeds_and_customers_differ() -> None:
    """Another seed and another customer have other histories."""
    bodies = [GeneratedHistories(seed=seed).body(customer) for seed in (0, 1) for customer in ("A", "B")]
    assert len(set(bodies)) == 4


@pytest.mark.parametrize("options", [{"offers": -1}, {"offers": (3, 2)}, {"unknown_rate": 1.1}, {"bundle_rate": -0.1}])
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    """The error names the option."""
    with pytest.raises(ValueError, match=next(iter(options))):
        GeneratedHistories(**options)


def test_the_documented_sample_comes_out_of_a_file_byte_for_byte(tmp_path: Path) -> None:
    """What a JSON-lines file holds of the documentation's sample is, indented, that sample."""
    sample = json.loads(SAMPLE.read_bytes())
    line = json.dumps({"CustomerID": "CONNOR", **sample})
    histories = FixedHistories.load(write(tmp_path / "histories.jsonl", "", line))
    assert len(histories) == 1
    assert pretty(histories.body("CONNOR")) == SAMPLE.read_bytes().rstrip(b"\n")
    assert histories.body("NOBODY") == EMPTY


def test_the_text_of_a_file_is_not_changed(tmp_path: Path) -> None:
    """Numbers, escapes and spaces stay as they were written, since a file may break the contract on purpose."""
    text = r'[ {"InteractionID": 1.0e2, "Name":"\u00e4", "OutcomeTime": 5} ]'
    path = write(tmp_path / "histories.jsonl", f'{{"CustomerID":"A","OfferHistory":{text}}}')
    assert FixedHistories.load(path).body("A") == b'{"OfferHistory":' + text.encode() + b"}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"CustomerID": "A"}', "OfferHistory"),
        ('{"OfferHistory": []}', "CustomerID"),
        ('{"CustomerID": "", "OfferHistory": []}', "CustomerID is empty"),
        ('{"CustomerID": 5, "OfferHistory": []}', "Expected `str`"),
        ('{"CustomerID": "A", "OfferHistory": {}}', "Expected `array`"),
        ('{"CustomerID": "A", "OfferHistory": [1]}', "Expected `object`"),
        ('{"CustomerID": "A", "OfferHistory": [], "Offers": 1}', "unknown field `Offers`"),
        ('{"CustomerID": "KNOWN", "OfferHistory": []}', "the same CustomerID as in line 1"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    """The error has file:line and the reason, and not the customer's id."""
    path = write(tmp_path / "bad.jsonl", '{"CustomerID": "KNOWN", "OfferHistory": []}', line)
    with pytest.raises(ValueError, match=message) as caught:
        FixedHistories.load(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "KNOWN" not in str(caught.value)


def test_a_line_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Invalid UTF-8 has its place told, too."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"CustomerID": "\xff", "OfferHistory": []}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl:1: "):
        FixedHistories.load(path)


def test_histories_from_values() -> None:
    """A test writes its histories down as Python values."""
    histories = FixedHistories.of({"A": [{"Name": "MI"}]})
    assert histories.body("A") == b'{"OfferHistory":[{"Name":"MI"}]}'
