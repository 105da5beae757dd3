"""Fields that are kept from those downstream: dropped, hashed with a key, or masked."""

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enricher.cli.codecs import open_codecs
from enricher.codec import JsonEncoder, decode_enriched
from enricher.config import ConfigError, load
from enricher.model import Enriched, Enrichment, Event, Offer, OfferHistory, Record, Status
from enricher.privacy import Action, Privacy, _attribute, mask, why_not
from enricher.reader.building import MAX_LEVELS
from enricher.schemas import ENRICHED_CONTACT
from enricher.stats import Stats

KEY = b"0123456789abcdef"
REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]
RECORD = Record("in", 0, 7, 1_000, b"key", b"", [])

INNER = Offer(name="Inner", external_id="S-1380500001", outcome_time=7)
OUTPUT = Enriched(
    Event("E-1", "CONNOR", 5, "Web", None, "", "agent-0815-4711", {"phone": "+49 170 1234567", "shop": "42"}),
    OfferHistory("CONNOR", 1, 1, (Offer(name="Outer", interaction_id=9, external_id="S-9", bundle=(INNER,)), Offer())),
    Enrichment("in", 0, 7, "1", 1, Status.ENRICHED),
)


def hashed(text: str) -> str:
    """As anybody with the key computes it."""
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def test_each_field_becomes_what_it_is_named_for() -> None:
    """In the contact, its attributes, the history, offers within offers; the rest stays, and what is empty."""
    rules = {
        "contact.agentId": Action.MASK,
        "contact.channel": Action.DROP,
        "contact.direction": Action.HASH,
        "contact.reason": Action.HASH,
        "contact.customerId": Action.HASH,
        "contact.attributes.phone": Action.MASK,
        "contact.attributes.shop": Action.DROP,
        "contact.attributes.absent": Action.HASH,
        "offerHistory.customerId": Action.HASH,
        "offerHistory.offers.externalId": Action.MASK,
        "offerHistory.offers.outcomeTime": Action.DROP,
    }
    changed = Privacy(rules, KEY).apply(OUTPUT)
    connor = hashed("CONNOR")
    inner = Offer(name="Inner", external_id="***0001")
    assert changed == Enriched(
        Event("E-1", connor, 5, None, None, "", "***4711", {"phone": "***4567"}),
        OfferHistory(
            connor, 1, 1, (Offer(name="Outer", interaction_id=9, external_id="***", bundle=(inner,)), Offer())
        ),
        OUTPUT.enrichment,
    )


def test_all_attributes_may_be_dropped() -> None:
    """Whatever else is said of one of them; what is not named stays the same."""
    changed = Privacy({"contact.attributes": Action.DROP, "contact.attributes.shop": Action.HASH}, KEY).apply(OUTPUT)
    assert changed == msgspec.structs.replace(OUTPUT, contact=msgspec.structs.replace(OUTPUT.contact, attributes={}))


def attributes(rules: dict[str, Action], given: dict[str, str]) -> dict[str, str]:
    """What becomes of attributes; the rules' paths are theirs."""
    contact = msgspec.structs.replace(OUTPUT.contact, attributes=given)
    paths = {f"contact.attributes.{path}": action for path, action in rules.items()}
    return Privacy(paths, KEY).apply(msgspec.structs.replace(OUTPUT, contact=contact)).contact.attributes


NAMES = '["Ann","B"]'
ORDER = (
    '{"shop":1e400,"who":{"phone":"+49 170 1234567","names":["Ann","B"],"id":42,"none":null,"empty":""},'
    '"a.b":{"c":"secret of nine"},"lines":[{"phone":"+43 1 7654321"},[{"phone":7}],"phone",3]}'
)


@pytest.mark.parametrize(
    ("path", "action", "expected"),
    [
        ("o.who.phone", Action.MASK, ORDER.replace("+49 170 1234567", "***4567")),
        ("o.who.phone", Action.DROP, ORDER.replace('"phone":"+49 170 1234567",', "")),
        ("o.who.id", Action.HASH, ORDER.replace(":42", f':"{hashed("42")}"')),
        ("o.who.names", Action.HASH, ORDER.replace(NAMES, f'"{hashed(NAMES)}"')),
        ("o.who.none", Action.HASH, ORDER),
        ("o.who.empty", Action.MASK, ORDER),
        ("o.who.none", Action.DROP, ORDER.replace('"none":null,', "")),
        ("o.a.b.c", Action.MASK, ORDER.replace("secret of nine", "***nine")),
        ("o.lines.phone", Action.DROP, ORDER.replace('[{"phone":"+43 1 7654321"},[{"phone":7}]', "[{},[{}]")),
        ("o.lines.phone.more", Action.DROP, ORDER),
        ("o.who.absent", Action.DROP, ORDER),
        ("o", Action.DROP, None),
        ("o.", Action.DROP, ORDER),
    ],
)
def test_what_is_inside_of_an_attribute(path: str, action: Action, expected: str | None) -> None:
    """By a longer path, through objects and lists; the rest stays as it is written, digits and all."""
    assert attributes({path: action}, {"o": ORDER, "x": "1"}) == (
        {"x": "1"} if expected is None else {"o": expected, "x": "1"}
    )


def test_several_places_inside_of_one_attribute() -> None:
    """One after the other; and what is dropped whole has no inside."""
    both = {"o.a": Action.DROP, "o.b": Action.MASK}
    assert attributes(both, {"o": '{"a":1,"b":2,"c":3}'}) == {"o": '{"b":"***","c":3}'}
    assert attributes({"o": Action.DROP, "o.b": Action.MASK}, {"o": '{"b":2}'}) == {}


def test_an_attribute_is_treated_by_its_value() -> None:
    """A text that is quoted in the attributes has the hash of the text; null and nothing stay, unless dropped."""
    given = {
        "a": '"42"',
        "b": "42",
        "c": "text",
        "d": "null",
        "e": "",
        "f": '"null"',
        "g": ' "x"',
        "h": '"broken',
        "i": "\ud800",
    }
    changed = attributes(dict.fromkeys("abcdefghi", Action.HASH), given)
    same = {"a": "42", "b": "42", "c": "text", "f": "null", "g": "x", "h": '"broken'}
    assert len(changed.pop("i")) == 64
    assert changed == {**{name: hashed(text) for name, text in same.items()}, "d": "null", "e": ""}
    assert attributes(dict.fromkeys("de", Action.DROP), given).keys() == given.keys() - {"d", "e"}
    assert attributes({"a": Action.MASK}, {"a": '"1234567890"'}) == {"a": "***7890"}


def test_an_attribute_whose_name_was_taken_is_the_same_field() -> None:
    """An event may have a field beside its attributes that is called as one of them is."""
    assert attributes({"phone": Action.DROP}, {"phone": "1", "/phone": "2", "//phone": "3", "/other": "4"}) == {
        "/other": "4"
    }


@pytest.mark.parametrize("text", ['{"a":', "[1", "{text}", "plain", "7", "{\ud800}", '["\ud800"]'])
def test_attributes_that_have_no_inside(text: str) -> None:
    """They are texts, or numbers."""
    assert attributes({"o.a": Action.DROP}, {"o": text}) == {"o": text}


def test_what_is_too_deep_to_look_into_is_dropped() -> None:
    """Nobody knows what is in there."""
    deep = "[" * 50_000 + '{"a":1}' + "]" * 50_000
    assert attributes({"o.a": Action.MASK}, {"o": deep, "x": "1"}) == {"x": "1"}


def test_a_hash_that_looks_like_a_number_stays_a_text() -> None:
    """One of very many does; it is quoted then, as any such text."""
    assert _attribute("secret", lambda _: "1" * 64) == f'"{"1" * 64}"'


def test_half_a_surrogate_pair_is_hashed() -> None:
    """JSON can hold one."""
    odd = msgspec.structs.replace(OUTPUT, contact=msgspec.structs.replace(OUTPUT.contact, agent_id="\ud800"))
    assert len(Privacy({"contact.agentId": Action.HASH}, KEY).apply(odd).contact.agent_id or "") == 64


def test_bundles_that_go_too_deep_are_left_to_the_encoder() -> None:
    """Which refuses them."""
    offer = Offer(external_id="S-1380500001")
    for _ in range(4 * MAX_LEVELS):
        offer = Offer(bundle=(offer,))
    deep = msgspec.structs.replace(OUTPUT, offer_history=OfferHistory("C", 1, 1, (offer,)))
    changed = Privacy({"offerHistory.offers.externalId": Action.DROP}, KEY).apply(deep)
    assert changed.offer_history.offers[0].bundle


@given(st.text())
@example("12345678")
@example("123456789")
def test_a_mask_leaves_at_most_half(text: str) -> None:
    """And does not tell how long the text was."""
    shown = mask(text)
    assert shown.startswith("***")
    assert len(shown) - 3 in (0, 4)
    assert 2 * (len(shown) - 3) < max(len(text), 1)


def test_every_field_of_the_output_is_known_or_of_no_person() -> None:
    """A field that is new in the schema is not forgotten here."""
    fields = {field["name"]: field["type"] for field in ENRICHED_CONTACT.raw["fields"]}
    contact = {f"contact.{field['name']}" for field in fields["contact"]["fields"]} - {"contact.contactTime"}
    history = {field["name"]: field["type"] for field in fields["offerHistory"]["fields"]}
    offers = {f"offerHistory.offers.{field['name']}" for field in history["offers"]["items"]["fields"]}
    for path in {*contact, *offers, "offerHistory.customerId"} - {"offerHistory.offers.bundle"}:
        assert None in {why_not(path, action) for action in Action}, path


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["privacy.drop=contact.customerId"], "can be hashed or masked, but not dropped"),
        (["privacy.mask=offerHistory.offers.outcomeTime"], "can only be dropped"),
        (["privacy.mask=contact.attributes"], "can only be dropped"),
        (["privacy.mask=contact.attributes."], "names no field that can be kept back"),
        (["privacy.drop=agentId"], "names no field that can be kept back"),
        (["privacy.hash=contact.agentId"], "needs privacy.key_file"),
        (["privacy.key_file=/key"], "needs privacy.hash"),
        (["privacy.drop=contact.agentId", "privacy.mask=contact.agentId"], "and so does privacy.drop"),
    ],
)
def test_what_is_refused(overrides: list[str], words: str) -> None:
    """With what would be right."""
    with pytest.raises(ConfigError) as error:
        load(None, {}, [*REQUIRED, *overrides])
    (problem,) = error.value.problems
    assert words in problem.message


@pytest.mark.parametrize("encoding", ["avro", "json"])
def test_outputs_are_changed_before_they_are_written(tmp_path: Path, encoding: str) -> None:
    """In either encoding; the line break at the end of the key's file is none of the key."""
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    told = [f"output.format={encoding}", "privacy.hash=contact.customerId,offerHistory.customerId"]
    told += [f"privacy.key_file={key}", "privacy.drop=contact.agentId", "privacy.mask=contact.attributes.phone"]
    codecs = open_codecs(load(None, {}, [*REQUIRED, *told]).settings, Stats())
    read = decode_enriched(codecs.encoder.encode(OUTPUT, RECORD))
    assert (read.contact.customer_id, read.offer_history.customer_id) == (hashed("CONNOR"),) * 2
    assert (read.contact.agent_id, read.contact.attributes) == (None, {"shop": "42", "phone": "***4567"})
    assert read.offer_history.offers == OUTPUT.offer_history.offers
    assert codecs.encoder.headers(RECORD) == []


def test_without_privacy_nothing_is_between() -> None:
    """What is off costs nothing."""
    codecs = open_codecs(load(None, {}, [*REQUIRED, "output.format=json"]).settings, Stats())
    assert type(codecs.encoder) is JsonEncoder


@pytest.mark.parametrize("content", [None, b"", b"too short\n"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """With the file, and without what is in it."""
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    settings = load(None, {}, [*REQUIRED, "privacy.hash=contact.agentId", f"privacy.key_file={key}"]).settings
    with pytest.raises(ConfigError) as error:
        open_codecs(settings, Stats())
    (problem,) = error.value.problems
    assert problem.name == "privacy.key_file"
    assert "too short" not in str(problem)
