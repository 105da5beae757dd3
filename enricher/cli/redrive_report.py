"""What ``enricher redrive`` tells a person. No customer's id is shown."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from enricher.cli.rendering import instant, paragraph

if TYPE_CHECKING:
    from enricher.cli.redriving import Outcome

_LEFT = {
    "no-cause": "tell no cause in their headers, so that nobody can say where they came from",
    "no-source": "came from no input topic that is there: name one with --to-topic",
    "too-large": "are too large for the topic: increase its max.message.bytes",
}


def print_kinds(outcome: "Outcome", topic: str) -> None:
    """What there is, by stage and cause, the most frequent first."""
    console = Console(highlight=False, soft_wrap=True)
    kinds = outcome.kinds.ordered()
    for kind in kinds:
        again = f", {kind.redriven:,} of them were sent back before" if kind.redriven else ""
        name = f"{kind.count:>7,}  {kind.stage or '-'}  {kind.cause or 'no cause'}"
        console.print(Text.assemble((name, "bold"), again))
        oldest, newest = (instant(None if at < 0 else at) for at in (kind.oldest, kind.newest))
        console.print(f"         from {oldest} to {newest} UTC", markup=False)
        message = "the message is not shown, as it may hold a customer's data" if kind.message is None else kind.message
        paragraph(console, f"         such as {kind.example}: {message}", indent=" " * 11)
    count = sum(kind.count for kind in kinds)
    paragraph(console, f"{count:,} of {outcome.read:,} dead letters in {topic} that have not gone back")
    _print_void(console, outcome)


def print_outcome(outcome: "Outcome", max_redrives: int, *, dry_run: bool) -> None:
    """What went back, and what was left and why."""
    console = Console(highlight=False, soft_wrap=True)
    verb = "would go back" if dry_run else "went back"
    console.print(f"{outcome.sent:,} dead letters {verb}", style="bold")
    reasons = {
        "max-redrives": f"were sent back {max_redrives} times and failed again: put right what is wrong with them, and "
        "give a higher --max-redrives",
        **_LEFT,
    }
    for reason, count in sorted(outcome.left.items()):
        paragraph(console, f"{count:,} were left: they {reasons[reason]}", indent="  ")
    if not dry_run:
        _print_void(console, outcome)


def _print_void(console: Console, outcome: "Outcome") -> None:
    if outcome.void:
        partitions = ", ".join(map(str, outcome.void))
        paragraph(
            console,
            f"note: the committed progress of partition {partitions} does not fit its log, as of a topic that was made "
            "anew: it was not taken into account",
            indent="  ",
        )
