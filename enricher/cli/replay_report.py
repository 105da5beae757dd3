"""What ``enricher replay`` says of a replay, to people and to programs. Pure."""

from typing import Any

from enricher.cli.planning import instant
from enricher.cli.progress import Figures, clock
from enricher.cli.replaying import Replay
from enricher.replay.plan import Plan
from enricher.stats import Stats


def title(replay: Replay, parallel: int) -> str:
    """What begins, for a person."""
    settings = replay.settings
    processes = f" with {parallel} processes" if parallel > 1 else ""
    return (
        f"replay {replay.name}: {replay.total:,} offsets of {', '.join(settings.input.topics)} to "
        f"{settings.output.topic}, {settings.delivery.guarantee.value}{processes}"
    )


def range_lines(plan: Plan) -> list[str]:
    """The range, for a person."""
    terms = plan.terms
    lines = [
        f"{p.topic}[{p.partition}]  offsets {span.start:,} to {span.end:,}  ({span.end - span.start:,})"
        for p, span in sorted(plan.spans.items())
        if span.start < span.end
    ]
    if terms.since is not None or terms.until is not None:
        begin = "the beginning" if terms.since is None else instant(terms.since)
        lines.append(f"records from {begin} to {'the end' if terms.until is None else instant(terms.until)}")
    return lines or ["the range is empty"]


def summary(replay: Replay, figures: Figures, stats: Stats, seconds: float, *, done: bool) -> list[str]:
    """What came of it, for a person."""
    share = f"{figures.done:,} of {figures.total:,} offsets"
    lines = [f"replay {replay.name}: complete" if done else f"replay {replay.name}: interrupted at {share}"]
    rows = [f"{stats.enriched:,} enriched"]
    rows += [f"{stats.passed_through:,} of them without a history"] if stats.passed_through else []
    rows += [f"{stats.dead_lettered:,} dead letters"] if stats.dead_lettered else []
    rows += [f"{stats.left_out:,} left out"] if stats.left_out else []
    rows += [f"{stats.skipped:,} done before"] if stats.skipped else []
    rate = figures.events / seconds if seconds > 0 else 0.0
    lines.append(f"  {', '.join(rows)}; in {clock(seconds)}, {rate:,.0f} events/s")
    lines += [
        f"  {count:,} dead letters: {stage}, {cause}" for (stage, cause), count in stats.dead_letters.most_common()
    ]
    return lines


def plan_json(plan: Plan) -> dict[str, Any]:
    """The range, for a program."""
    terms = plan.terms
    return {
        "ranges": [
            {"topic": p.topic, "partition": p.partition, "start": span.start, "end": span.end}
            for p, span in sorted(plan.spans.items())
        ],
        "offsets": plan.offsets,
        "from": None if terms.since is None else instant(terms.since),
        "to": None if terms.until is None else instant(terms.until),
    }


def counts(stats: Stats) -> dict[str, Any]:
    """What was done, for a program."""
    return {
        "enriched": stats.enriched,
        "passed_through": stats.passed_through,
        "dead_letters": stats.dead_lettered,
        "dead_letter_causes": [
            {"stage": stage, "cause": cause, "count": count}
            for (stage, cause), count in stats.dead_letters.most_common()
        ],
        "left_out": stats.left_out,
        "skipped": stats.skipped,
        "lookups": stats.lookups,
        "retries": stats.retries,
    }
