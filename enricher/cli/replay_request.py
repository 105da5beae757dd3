"""What a replay was asked to do, checked as far as the command line alone can tell. Nothing is asked of Kafka here.

Invariant: the same words give the same terms, whenever they are read: processes that begin one replay with one command
agree on it though ``2h ago`` is another instant for each.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from enricher.cli.planning import Asked
from enricher.cli.ranges import Edge, Point, parse_point
from enricher.config.units import parse_duration
from enricher.replay.plan import NAME, Terms
from enricher.replay.selection import Selection, digest
from enricher.replay.where import BadExpression, parse_where

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class Usage(ValueError):  # noqa: N818  says what it is
    """The options make no sense, alone or together."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Attributes:
        asked: the range.
        words: the range as it was written, for telling two requests apart.
        topics: of the input, that are wanted.
        customers: the ids that were chosen.
        where: the expression.
        to_topic: where to publish.
        as_of: the setting that was asked for.
        name: of the replay, if one was given.
        resume: the replay to go on with.
    """

    asked: Asked
    words: str
    topics: tuple[str, ...]
    customers: frozenset[str] | None
    where: str | None
    to_topic: str | None
    as_of: str | None
    name: str | None
    resume: str | None

    @classmethod
    def of(
        cls,
        *,
        start: str | None,
        end: str | None,
        partitions: Sequence[int],
        topics: Sequence[str],
        input_topics: Sequence[str],
        customers: frozenset[str] | None,
        where: str | None,
        to_topic: str | None,
        as_of: str | None,
        max_disorder: str | None,
        allow_missing: bool,
        name: str | None,
        resume: str | None,
        now: int,
    ) -> "Request":
        """Check the options.

        Raises:
            Usage: with what is wrong.
        """
        ranged = bool(start or end or partitions or topics or max_disorder or allow_missing)
        _check_names(name, resume, ranged=ranged, limited=bool(start or end or partitions))
        _check_topics(topics, input_topics, to_topic)
        if customers is not None and not customers:
            raise Usage("--customers names no customer")
        try:
            if where is not None:
                parse_where(where)
            disorder = None if max_disorder is None else round(parse_duration(max_disorder) * 1000)
        except BadExpression as error:
            raise Usage(f"--where {error}") from None
        except PydanticCustomError as error:
            raise Usage(f"--max-disorder {max_disorder}: {error.message()}") from None
        asked = Asked(
            _point("--from", start, Edge.BEGINNING, now),
            _point("--to", end, Edge.END, now),
            frozenset(partitions),
            disorder,
            allow_missing,
        )
        words = " ".join(
            word
            for word in (
                f"from {start or Edge.BEGINNING.value}",
                f"to {end or Edge.END.value}",
                f"partitions {','.join(map(str, sorted(set(partitions))))}" if partitions else "",
                f"topics {','.join(sorted(set(topics)))}" if topics else "",
                f"disorder {max_disorder}" if max_disorder else "",
            )
            if word
        )
        chosen = tuple(topic for topic in input_topics if not topics or topic in topics)
        return cls(asked, words, chosen, customers, where, to_topic, as_of, name, resume)

    def terms(self, since: int | None, until: int | None) -> Terms:
        """The terms that a plan is made on."""
        return Terms(
            self.words,
            since,
            until,
            self.where,
            None if self.customers is None else digest(self.customers),
            self.to_topic,
            self.as_of,
        )

    def check(self, terms: Terms, name: str) -> None:
        """Whether a replay that is there already is the one that was asked for.

        Raises:
            Usage: it is another.
        """
        if self.resume is None and terms.asked != self.words:
            raise Usage(
                f"there is a replay {name} of another range ({terms.asked}): choose another --name, or --resume it"
            )
        for option, mine, theirs in (
            ("--where", self.where, terms.where),
            ("--to-topic", self.to_topic, terms.topic),
            ("--as-of", self.as_of, terms.as_of),
        ):
            if mine != theirs and not (self.resume and mine is None):
                raise Usage(
                    f"the replay {name} has {f'{option} {theirs!r}' if theirs else f'no {option}'}, and keeps to it"
                )
        mine = None if self.customers is None else digest(self.customers)
        if mine != terms.customers:
            raise Usage(
                f"the replay {name} is of certain customers: give the same ones again (their ids are not kept)"
                if terms.customers
                else f"the replay {name} is of all customers, and keeps to it"
            )

    def selection(self, terms: Terms) -> Selection:
        """What is processed of the range."""
        where = None if terms.where is None else parse_where(terms.where)
        return Selection(terms.since, terms.until, self.customers, where)


def _point(option: str, text: str | None, default: Edge, now: int) -> Point:
    if text is None:
        return default
    try:
        return parse_point(text, now)
    except ValueError as error:
        raise Usage(f"{option} {error}") from None


def _check_names(name: str | None, resume: str | None, *, ranged: bool, limited: bool) -> None:
    if resume is not None and (ranged or name):
        raise Usage("--resume goes on with the range that was fixed when the replay began: name no other, and no name")
    if resume is None and not limited:
        raise Usage("say what to replay: --from, --to or --partition (--from beginning for all that is there)")
    for option, value in (("--name", name), ("--resume", resume)):
        if value is not None and NAME.fullmatch(value) is None:
            raise Usage(f"{option} {value!r} is no name: at most 80 letters, digits, - and _")


def _check_topics(topics: Sequence[str], input_topics: Sequence[str], to_topic: str | None) -> None:
    if unknown := sorted(set(topics) - set(input_topics)):
        raise Usage(f"--topic {unknown[0]} is not in input.topics, which are {', '.join(input_topics)}")
    if to_topic is not None and (_TOPIC.fullmatch(to_topic) is None or to_topic in input_topics):
        raise Usage(f"--to-topic {to_topic} is no topic, or an input topic: the worker would read what is written")
