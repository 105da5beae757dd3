"""The status page: how the worker stands, for a person at 3 a.m.

Invariants: plain HTML that needs no script and nothing from elsewhere; everything that is not ours is escaped; kinds
and counts only, no customer, no key, no value, no secret.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple, TypeAlias

from enricher import __version__
from enricher.observability.health import Verdict
from enricher.observability.style import STYLE
from enricher.observability.view import View
from enricher.state import PartitionState

SettingRow: TypeAlias = tuple[str, str, str]
"""A setting's name, its value with secrets masked, and where it comes from."""

REFRESH = 5
"""Seconds after which a browser asks again."""

MOST_PARTITIONS = 100
"""Partitions that are listed, those with the largest lag first."""

_LATE = 60.0
"""Seconds from which a wait is shown as one to look at."""

_DEFAULT = "default"
"""Where a setting's value comes from if nobody gave it."""

_TEXTS = frozenset(("partition", "state", "kind", "cause", "stage", "setting", "value", "source"))
"""Columns that hold text rather than numbers."""

_SPARED = frozenset(("unresolved", "committed", "end", "since the start"))
"""Columns that a phone has no room for."""


class _Cell(NamedTuple):
    text: str
    alert: bool = False
    name: bool = False  # text rather than a number


def render(view: View, live: Verdict, settings: Sequence[SettingRow], *, host: str, at: datetime) -> bytes:
    """The page, UTF-8.

    Args:
        view: the worker.
        live: whether it is alive.
        settings: the effective ones, secrets masked.
        host: the machine's or pod's name, which tells workers apart.
        at: the time, UTC.
    """
    known = {name: value for name, value, _ in settings}
    body = "".join((
        _head(view, live, f"{known.get('kafka.group_id', '')} on {host}", at),
        _figures(view, known),
        _partitions(view),
        _failures(view),
        _settings(settings),
    ))  # fmt: skip
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="{REFRESH}">
<title>{escape(host)}: {"ready" if view.ready.ok and live.ok else "not ready"}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}<footer class="quiet"><a href="metrics">metrics</a> <a href="livez">livez</a> <a href="readyz">readyz</a></footer>
</main>
</body>
</html>
""".encode()


def _head(view: View, live: Verdict, who: str, at: datetime) -> str:
    alive = _pill("alive" if live.ok else "not alive", good=live.ok)
    ready = _pill("ready" if view.ready.ok else "not ready", good=view.ready.ok)
    reasons = [*live.reasons, *view.ready.reasons]
    if view.state.breaker_open:
        reasons.append("the history service does not answer; one request a second asks whether it is back")
    notes = "".join(f'<li class="alert">{escape(reason)}</li>' for reason in reasons)
    if view.state.partitions and all(partition.paused for partition in view.state.partitions):
        notes += (
            "<li>no more is read until some of the records held are done: their number or size is at its limit</li>"
        )
    up = _duration(view.now - view.pulse.started)
    return f"""<header>
<h1>enricher <span class="who">{escape(who)}</span></h1>
<p>{alive} {ready} <span class="quiet">{at:%Y-%m-%d %H:%M:%S} UTC, up {up}, version {escape(__version__)}, \
refreshes every {REFRESH} s</span></p>
{f"<ul>{notes}</ul>" if notes else ""}
</header>
"""


def _pill(text: str, *, good: bool) -> str:
    return f'<span class="pill {"good" if good else "bad"}">{text}</span>'


def _figures(view: View, settings: Mapping[str, str]) -> str:
    state, stats, recent = view.state, view.stats, view.recent
    lags = [lag for partition in state.partitions if (lag := view.lag(partition)) is not None]
    ages = [age for partition in state.partitions if (age := view.lag_seconds(partition)) is not None]
    rate = "-" if recent.rate is None else f"{recent.rate:,.1f}/s"
    most = settings.get("service.max_in_flight", "")
    oldest = max((partition.oldest_seconds for partition in state.partitions), default=0.0)
    commit_age = view.now - (view.pulse.committed or view.pulse.started)
    figures = [
        ("enriched", rate, f"{stats.enriched:,} since the start", False),
        (
            "lag",
            f"{sum(lags):,}" if lags else "-",
            f"oldest {_duration(max(ages))}" if ages else "not known yet",
            False,
        ),
        (
            "in flight",
            f"{state.in_flight:,} of {state.limit:,}",
            f"{state.waiting:,} wait{f', {most} is the most' if most else ''}",
            False,
        ),
        ("service", "down" if state.breaker_open else "answers", _lookups(view), state.breaker_open),
        (
            "held",
            f"{state.records:,} of {state.max_records:,}",
            f"{_size(state.bytes)} of {_size(state.max_bytes)}",
            False,
        ),
        (
            "oldest event",
            _duration(oldest) if state.records else "none",
            "since it was taken" if state.records else "is held",
            oldest > _LATE,
        ),
        ("last commit", f"{_duration(commit_age)} ago", f"{stats.commit_failures:,} failed", commit_age > _LATE),
        ("dead letters", f"{stats.dead_lettered:,}", f"{recent.dead_letters.total():,} lately", False),
    ]
    tiles = "".join(
        f'<div class="tile{" alert" if alert else ""}"><dt>{name}</dt><dd>{value}</dd>'
        f'<dd class="quiet">{more}</dd></div>'
        for name, value, more, alert in figures
    )
    return f'<dl class="tiles">{tiles}</dl>\n'


def _lookups(view: View) -> str:
    histogram = view.recent.lookup_seconds
    if not histogram.count:
        return "no answer lately"
    return f"p50 {_duration(histogram.quantile(0.5))}, p99 {_duration(histogram.quantile(0.99))} lately"


def _partitions(view: View) -> str:
    partitions = sorted(view.state.partitions, key=lambda p: (-(view.lag(p) or 0), p.topic, p.partition))
    if not partitions:
        return "<h2>Partitions</h2>\n<p>None is assigned to this worker.</p>\n"
    shown = partitions[:MOST_PARTITIONS]
    title = f"Partitions ({len(partitions)})"
    if len(shown) < len(partitions):
        title = f"Partitions ({len(shown)} of {len(partitions)}, those with the largest lag)"
    names = ("partition", "state", "lag", "oldest", "unresolved", "committed", "end")
    return _table(title, names, (_partition(view, partition) for partition in shown))


def _partition(view: View, partition: PartitionState) -> tuple[_Cell, ...]:
    lag, age, end = view.lag(partition), view.lag_seconds(partition), view.high_watermark(partition)
    state = "blocked" if partition.full else "paused" if partition.paused else "read"
    return (
        _Cell(f"{partition.topic}[{partition.partition}]", name=True),
        _Cell(state, alert=partition.full, name=True),
        _Cell("-" if lag is None else f"{lag:,}"),
        _Cell("-" if age is None else _duration(age), alert=partition.oldest_seconds > _LATE),
        _Cell(f"{partition.unresolved:,}"),
        _Cell(f"{partition.committed:,}"),
        _Cell("-" if end is None else f"{end:,}"),
    )


def _failures(view: View) -> str:
    stats, recent = view.stats, view.recent
    lately = f"last {_duration(recent.seconds)}"
    attempts = (
        (_Cell(kind, name=True), _Cell(f"{recent.failures[kind]:,}"), _Cell(f"{count:,}"))
        for kind, count in sorted(stats.failures.items(), key=lambda item: (-recent.failures[item[0]], -item[1]))
    )
    letters = (
        (
            _Cell(cause, name=True),
            _Cell(stage, name=True),
            _Cell(f"{recent.dead_letters[stage, cause]:,}"),
            _Cell(f"{count:,}"),
        )
        for (stage, cause), count in sorted(
            stats.dead_letters.items(), key=lambda item: (-recent.dead_letters[item[0]], -item[1])
        )
    )
    return (
        _table("Failed look-ups", ("kind", lately, "since the start"), attempts, "None has failed.")
        + _table("Dead letters", ("cause", "stage", lately, "since the start"), letters, "There is none.")
    )  # fmt: skip


def _settings(settings: Sequence[SettingRow]) -> str:
    """Those that somebody gave first: they are what one looks for."""
    tables = ""
    for title, defaults in (("Settings that were given", False), ("Settings left as they are", True)):
        rows = [tuple(_Cell(text, name=True) for text in row) for row in settings if (row[2] == _DEFAULT) is defaults]
        tables += _table(title, ("setting", "value", "source"), rows, "There is none.")
    return f'<section class="wrap">\n{tables}</section>\n'


def _table(title: str, names: Iterable[str], rows: Iterable[Sequence[_Cell]], empty: str = "") -> str:
    heading = f"<h2>{escape(title)}</h2>\n"
    columns = tuple(names)
    body = "".join(f"<tr>{''.join(map(_cell, columns, row))}</tr>\n" for row in rows)
    if not body and empty:
        return f"{heading}<p>{empty}</p>\n"
    head = "".join(f"<th{_classes(column, name=column in _TEXTS)}>{escape(column)}</th>" for column in columns)
    return f'{heading}<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def _cell(column: str, cell: _Cell) -> str:
    return f"<td{_classes(column, name=cell.name, alert=cell.alert)}>{escape(cell.text)}</td>"


def _classes(column: str, **applies: bool) -> str:
    found = " ".join([name for name, does in applies.items() if does] + ["spared"] * (column in _SPARED))
    return f' class="{found}"' if found else ""


def _duration(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    for size, unit, smaller, part in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} {seconds % size // smaller:.0f} {part}"
    return f"{seconds:.1f} s" if seconds else "0 s"


def _size(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
