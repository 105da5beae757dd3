"""What a replay is asked to do: what is refused, and when two requests are the same."""

from typing import Any

import pytest
import typer.testing

from enricher.cli.app import app
from enricher.cli.ranges import Edge
from enricher.cli.replay_request import Request, Usage
from enricher.model import Event

NOW = 1_790_000_000_000


def request(**options: Any) -> Request:
    """A request of everything, but for these options."""
    defaults: dict[str, Any] = {
        "start": None, "end": None, "partitions": [], "topics": [], "input_topics": ["a", "b"], "customers": None,
        "where": None, "to_topic": None, "as_of": None, "max_disorder": None, "allow_missing": False, "name": None,
        "resume": None, "now": NOW,
    }  # fmt: skip
    return Request.of(**{**defaults, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "say what to replay"),
        ({"start": "beginning", "resume": "x"}, "--resume goes on with the range"),
        ({"name": "y", "resume": "x"}, "--resume goes on with the range"),
        ({"start": "beginning", "name": "a b"}, "--name 'a b' is no name"),
        ({"resume": "x.range"}, "--resume 'x.range' is no name"),
        ({"start": "soon"}, "--from 'soon' is no point"),
        ({"end": "soon"}, "--to 'soon' is no point"),
        ({"start": "beginning", "topics": ["c"]}, "--topic c is not in input.topics, which are a, b"),
        ({"start": "beginning", "to_topic": "a"}, "--to-topic a is no topic, or an input topic"),
        ({"start": "beginning", "to_topic": "a/b"}, "--to-topic a/b is no topic"),
        ({"start": "beginning", "customers": frozenset()}, "--customers names no customer"),
        ({"start": "beginning", "where": "x"}, "--where has, at character 1, x where a field"),
        ({"start": "beginning", "max_disorder": "5"}, "--max-disorder 5: is a number without a unit"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    """Each with what is wrong."""
    with pytest.raises(Usage) as caught:
        request(**options)
    assert message in str(caught.value)


def test_the_same_words_are_the_same_replay() -> None:
    """Though the clock has gone on, and whatever the order of partitions and customers."""
    first = request(start="2h ago", partitions=[2, 1], customers=frozenset({"A", "B"}), max_disorder="5m", name="n")
    later = request(
        start="2h ago", partitions=[1, 2], customers=frozenset({"B", "A"}), max_disorder="5m", name="n", now=NOW + 9
    )
    assert first.asked.start == NOW - 7_200_000 != later.asked.start
    assert first.asked.disorder == 300_000
    later.check(first.terms(1, 2), "n")
    with pytest.raises(Usage, match="of another range"):
        request(start="1h ago", name="n").check(first.terms(1, 2), "n")


def test_a_resumed_replay_keeps_to_its_terms() -> None:
    """Options may be left out or repeated, but not changed; the customers have to be named again."""
    terms = request(
        start="beginning", where="channel = 'Web'", to_topic="other", as_of="event", customers=frozenset({"A"})
    ).terms(5, 9)
    resumed = request(resume="n", customers=frozenset({"A"}))
    resumed.check(terms, "n")
    request(resume="n", customers=frozenset({"A"}), to_topic="other").check(terms, "n")
    selection = resumed.selection(terms)
    assert (selection.since, selection.until, selection.customers) == (5, 9, frozenset({"A"}))
    assert selection.where is not None
    assert selection.where(Event("E", "A", 0, channel="Web"))
    for options, message in (
        ({"customers": frozenset({"B"})}, "give the same ones again"),
        ({}, "give the same ones again"),
        ({"customers": frozenset({"A"}), "to_topic": "x"}, "has --to-topic 'other', and keeps to it"),
        ({"customers": frozenset({"A"}), "where": "channel = null"}, "has --where"),
    ):
        with pytest.raises(Usage, match=message):
            request(resume="n", **options).check(terms, "n")
    of_all = request(start="beginning").terms(None, None)
    with pytest.raises(Usage, match="is of all customers"):
        request(resume="n", customers=frozenset({"A"})).check(of_all, "n")
    with pytest.raises(Usage, match="has no --as-of"):
        request(resume="n", as_of="now").check(of_all, "n")


def test_topics_are_those_of_the_input_in_its_order() -> None:
    """All, unless some are named; from the beginning and to the end, unless told otherwise."""
    assert request(partitions=[0]).topics == ("a", "b")
    assert request(start="beginning", topics=["b"]).topics == ("b",)
    assert (request(partitions=[0]).asked.start, request(partitions=[0]).asked.end) == (Edge.BEGINNING, Edge.END)


SETS = [
    f"--set={name}"
    for name in (
        "kafka.bootstrap_servers=localhost:1",
        "input.topics=contacts",
        "output.topic=enriched",
        "service.url=http://localhost:1/x",
    )
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to replay"),
        (["--from=beginning", "--dry-run", "--compare"], "exclude each other"),
        (["--from=beginning", "--compare", "--name=x"], "--compare publishes and keeps nothing"),
        (["--from=beginning", "--customers=/does/not/exist"], "No such file"),
    ],
)
def test_mistakes_end_the_command_with_2(arguments: list[str], message: str) -> None:
    """Before anything is asked of Kafka; as text, and as JSON."""
    runner = typer.testing.CliRunner()
    result = runner.invoke(app, ["replay", *SETS, *arguments])
    assert (result.exit_code, message in result.stderr) == (2, True)
    result = runner.invoke(app, ["replay", "--json", *SETS, *arguments])
    assert (result.exit_code, message in result.stdout) == (2, True)
