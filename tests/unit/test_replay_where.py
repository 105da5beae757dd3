"""The expressions of ``--where``: what they choose, and what is told of those that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.model import Event
from enricher.replay.where import DEEPEST, LONGEST, BadExpression, parse_where

EVENT = Event(
    "E-1",
    "CONNOR",
    1_793_491_200_000,  # 2026-11-01T00:00Z
    channel="Web",
    reason="it's a Test",
    attributes={
        "queue": "2",
        "share": "0.5",
        "vip": "true",
        "digits": '"5"',
        "plan": '{"name":"Gold","limits":[1]}',
        "not": "a word",
        "7": "seven",
        "odd name": "x",
        "nothing": "null",
    },
)


@pytest.mark.parametrize(
    "text",
    [
        "channel = 'Web'",
        'channel == "Web"',
        "channel != 'Phone'",
        "reason = 'it''s a Test'",
        "reason contains 'Test'",
        "customerId = 'CONNOR' and eventId = 'E-1'",
        "channel = 'Phone' or channel = 'Web'",
        "not channel = 'Phone'",
        "NOT (channel = 'Web' AND agentId != null)",
        "channel = 'Web' or channel = 'x' and channel = 'y'",
        "agentId = null and direction = null",
        "channel in ('Phone', 'Web')",
        "contactTime = '2026-11-01T00:00Z'",
        "contactTime >= '2026-11-01T01:00+02:00' or contactTime < 0",
        "contactTime >= '2026-11-01' and contactTime < '2026-11-01T00:00:00.001'",
        "contactTime in ('2026-11-01T00:00Z')",
        "contactTime = 1793491200000",
        "attributes.queue = 2 and attributes.queue < 2.5 and attributes.queue >= 2 and attributes.queue > -1",
        "attributes.queue in (1, 2)",
        "attributes.share <= 0.5",
        "attributes.vip = true and attributes.vip != false",
        "attributes.digits = '5' and attributes.digits != 5",
        "attributes.plan.name = 'Gold' and attributes.plan.other = null and attributes.queue.name = null",
        "attributes.not = 'a word' and attributes.7 = 'seven' and attributes.'odd name' = 'x'",
        "attributes.nothing = null and attributes.missing = null",
        "channel > 'Vat' and channel < 'Xeb'",
    ],
)
def test_it_chooses(text: str) -> None:
    """Each is true of the event, and its denial is not."""
    assert parse_where(text)(EVENT)
    assert not parse_where(f"not ({text})")(EVENT)


@pytest.mark.parametrize(
    "text",
    [
        "channel = 2",
        "agentId != null",
        "agentId < 'z'",
        "agentId contains 'a'",
        "attributes.queue contains '2'",
        "attributes.queue < '9'",
        "attributes.vip = 1",
        "attributes.plan > 1",
        "attributes.plan.limits > 1",
        "attributes.missing in (1, 'x')",
        "contactTime > '2026-11-01T00:00Z'",
    ],
)
def test_kinds_do_not_mix(text: str) -> None:
    """What is missing, or of another kind, is neither equal nor in an order."""
    assert not parse_where(text)(EVENT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1, its end where a field"),
        ("channel", "at character 8, its end where =, !="),
        ("channel = ", "its end where a text in quotes"),
        ("channel = Web", "at character 11, Web where a text in quotes"),
        ("channel = 'Web", "at character 11, a text that does not end"),
        ("channel ; 'Web'", "at character 9, ';', which means nothing here"),
        ("channel = 'Web' channel", "at character 17, channel where and, or, or the end"),
        ("chan = 'Web'", "at character 1, chan where a field (eventId"),
        ("attributes = 1", "at character 1, attributes where a field"),
        ("attributes. = 1", "where the name of an attribute"),
        ("(channel = 'Web'", "its end where )"),
        ("channel in 'Web'", "where ( and a list of values"),
        ("channel in ('Web'", "its end where , or )"),
        ("channel in ()", ") where a text in quotes"),
        ("channel contains 5", "5 where a text in quotes"),
        ("contactTime > 'soon'", "'soon' where a time such as"),
        ("agentId > null", "no order"),
        ("channel = and", "and where a text in quotes"),
        ("not " * (DEEPEST + 1) + "channel = 'x'", f"deeper than {DEEPEST}"),
        ("channel = 'x' or " * 200 + "channel = 'x'", f"at most {LONGEST:,}"),
    ],
)
def test_what_is_wrong_is_told(text: str, message: str) -> None:
    """Where, what stands there, and what was expected."""
    with pytest.raises(BadExpression) as caught:
        parse_where(text)
    assert message in str(caught.value)


@given(st.text(alphabet="ab'\"()=<>!,. notandric1", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but ``BadExpression`` comes of a text, and what is read can be asked."""
    try:
        test = parse_where(text)
    except BadExpression:
        return
    assert test(EVENT) in (True, False)
