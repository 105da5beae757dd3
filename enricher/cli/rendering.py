"""How events, counts and durations are shown to a person. No I/O but what the caller's console does."""

import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from enricher.model import Enriched, Offer

SHOWN_OFFERS = 5


def instant(milliseconds: int | None) -> str:
    """A point in time, to the second, in UTC."""
    if milliseconds is None:
        return "-"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def milliseconds(seconds: float) -> str:
    """A duration, in milliseconds."""
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"  # noqa: PLR2004


def enriched_lines(enriched: "Enriched", shown: int = SHOWN_OFFERS) -> Iterable[Text]:
    """An enriched event as a few lines: who, when, what about; then the newest offers."""
    contact, history, how = enriched.contact, enriched.offer_history, enriched.enrichment
    head = Text(f"{contact.event_id}  ", style="bold")
    head.append(f"customer {contact.customer_id}", style="bold cyan")
    yield head
    about = [instant(contact.contact_time), contact.channel, contact.direction, contact.reason]
    yield Text("  " + "  ".join(word for word in about if word))
    came = f"{how.topic}[{how.partition}]@{how.offset}, {how.status.lower().replace('_', ' ')}"
    tries = {0: ", no look-up of its own", 1: ""}.get(how.attempts, f", {how.attempts} attempts")
    yield Text(f"  from {came}{tries}, {len(history.offers)} offers", style="dim")
    newest = sorted(history.offers, key=lambda offer: offer.outcome_time or 0, reverse=True)
    for offer in newest[:shown]:
        yield _offer_line(offer)
    if len(newest) > shown:
        yield Text(f"    and {len(newest) - shown} older ones", style="dim")


def _offer_line(offer: "Offer") -> Text:
    styles = {"Positive": "green", "Negative": "red"}
    line = Text(f"    {instant(offer.outcome_time)}  ")
    line.append(f"{offer.outcome:<11}", style=styles.get(offer.behaviour, "yellow"))
    line.append(f" {offer.channel:<11} {offer.identifier or offer.name}")
    if offer.bundle:
        line.append(f"  ({', '.join(part.name for part in offer.bundle)})", style="dim")
    return line


def paragraph(console: "Console", text: str, indent: str = "", style: str = "") -> None:
    """A line, which is broken between words only where a terminal is too narrow; the rest of it is indented then."""
    if console.is_terminal:
        text = textwrap.fill(
            text, max(console.width, 40), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def two_columns(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values, without a frame."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="left")
    for name, value in rows:
        table.add_row(name, value)
    return table
