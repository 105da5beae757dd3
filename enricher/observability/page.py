"""The status page: how the worker stands, for a person at 3 a.m.

Invariants: plain HTML that needs no script and nothing from elsewhere; everything that is not ours is escaped; kinds
and counts only, no customer, no key, no value, no secret.
"""

from collections.abc import Iterable, Sequence
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


_TEXTS = frozenset(("partition", "state", "kind", "cause", "stage", "setting", "value", "source"))
"""Columns that hold text rather than numbers."""


class _Cell(NamedTuple):
    text: str
    alert: bool = False
    name: bool = False  # text rather than a number


def render(view: View, live: Verdict, settings: Sequence[SettingRow]) -> bytes:
    """The page, UTF-8."""
    body = "".join((
        _head(view, live),
        _figures(view),
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
<title>enricher: {"ready" if view.ready.ok and live.ok else "not ready"}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
""".encode()


def _head(view: View, live: Verdict) -> str:
    alive = _pill("alive" if live.ok else "not alive", good=live.ok)
    ready = _pill("ready" if view.ready.ok else "not ready", good=view.ready.ok)
    reasons = [*live.reasons, *view.ready.reasons]
    if view.state.breaker_open:
        reasons.append("the history service does not answer; one request a second asks whether it is back")
    notes = "".join(f'<li class="alert">{escape(reason)}</li>' for reason in reasons)
    up = _duration(view.now - view.pulse.started)
    return f"""<header>
<h1>enricher</h1>
<p>{alive} {ready} <span class="quiet">version {escape(__version__)}, up {up}, refreshes every {REFRESH} s</span></p>
{f"<ul>{notes}</ul>" if notes else ""}
</header>
"""


def _pill(text: str, *, good: bool) -> str:
    return f'<span class="pill {"good" if good else "bad"}">{text}</span>'


def _figures(view: View) -> str:
    state, stats, recent = view.state, view.stats, view.recent
    lags = [lag for partition in state.partitions if (lag := view.lag(partition)) is not None]
    ages = [age for partition in state.partitions if (age := view.lag_seconds(partition)) is not None]
    rate = f"{recent.enriched / recent.seconds:,.1f}/s" if recent.seconds else "-"
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
        ("in flight", f"{state.in_flight:,} of {state.limit:,}", f"{state.waiting:,} wait", False),
        ("service", "down" if state.breaker_open else "answers", _lookups(view), state.breaker_open),
        (
            "held",
            f"{state.records:,} of {state.max_records:,}",
            f"{_size(state.bytes)} of {_size(state.max_bytes)}",
            False,
        ),
        ("oldest event", _duration(oldest), "since it was taken", oldest > _LATE),
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
    histogram = view.stats.lookup_seconds
    if not histogram.count:
        return "no answer yet"
    return f"p50 {_duration(histogram.quantile(0.5))}, p99 {_duration(histogram.quantile(0.99))}"


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
        for kind, count in stats.failures.most_common()
    )
    letters = (
        (
            _Cell(cause, name=True),
            _Cell(stage, name=True),
            _Cell(f"{recent.dead_letters[stage, cause]:,}"),
            _Cell(f"{count:,}"),
        )
        for (stage, cause), count in stats.dead_letters.most_common()
    )
    return (
        _table("Failed look-ups", ("kind", lately, "since the start"), attempts, "None has failed.")
        + _table("Dead letters", ("cause", "stage", lately, "since the start"), letters, "There is none.")
    )  # fmt: skip


def _settings(settings: Sequence[SettingRow]) -> str:
    rows = (tuple(_Cell(text, name=True) for text in row) for row in settings)
    return f'<section class="wrap">\n{_table("Settings", ("setting", "value", "source"), rows)}</section>\n'


def _table(title: str, names: Iterable[str], rows: Iterable[Sequence[_Cell]], empty: str = "") -> str:
    heading = f"<h2>{escape(title)}</h2>\n"
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    if not body and empty:
        return f"{heading}<p>{empty}</p>\n"
    head = "".join(f"<th{' class=name' if name in _TEXTS else ''}>{escape(name)}</th>" for name in names)
    return f'{heading}<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def _cell(cell: _Cell) -> str:
    classes = " ".join(name for name, applies in (("alert", cell.alert), ("name", cell.name)) if applies)
    return f"<td{f' class={chr(34)}{classes}{chr(34)}' if classes else ''}>{escape(cell.text)}</td>"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    for size, unit, smaller, part in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} {seconds % size // smaller:.0f} {part}"
    return f"{seconds:.1f} s"


def _size(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
