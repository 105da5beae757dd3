"""The example in docs/downstream.md runs as it stands there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import msgspec
import pytest

from enricher.codec import Encoder
from enricher.codec.framing import Framing
from enricher.model import Enriched, Enrichment, Event, Offer, OfferHistory, Status
from enricher.schemas import ENRICHED_CONTACT
from enricher.testing.registry import RegistryServer

PAGE = Path(__file__).parents[2] / "docs" / "downstream.md"

Headers = list[tuple[str, bytes | None]]


def output(status: Status) -> Enriched:
    """An output with one accepted offer, unless there is none."""
    offer = Offer(name="UltraMobile", outcome="Accepted")
    offers = (offer, Offer(name="Other", outcome="Rejected")) if status is Status.ENRICHED else ()
    event = Event(f"E-{status}", "CONNOR", 0, None, None, None, None, {})
    return Enriched(event, OfferHistory("CONNOR", 1, 1, offers), Enrichment("in", 0, 7, "1", 1, status))


class Message:
    """A record as the client gives it."""

    def __init__(self, value: bytes, headers: Headers) -> None:
        self.value = lambda: value
        self.headers = lambda: headers
        self.topic, self.partition, self.offset = (lambda: "enriched"), (lambda: 0), (lambda: 7)
        self.error = lambda: None


class Consumer:
    """Gives messages, and is stopped then."""

    messages: Iterator[Message | None]

    def __init__(self, properties: dict[str, str]) -> None:
        assert properties["isolation.level"] == "read_committed"

    def subscribe(self, topics: list[str]) -> None:
        """Nothing to do."""
        assert topics == ["enriched"]

    def poll(self, _timeout: float) -> Message | None:
        """The next one."""
        message = next(self.messages, 1)
        if isinstance(message, int):
            raise KeyboardInterrupt
        return message


def test_the_example_reads_every_framing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By prefix, by header, as a single object and as JSON; what is none it skips, and what is not known, too."""
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.setattr(confluent_kafka, "Consumer", Consumer)
    enriched = output(Status.ENRICHED)
    with RegistryServer() as registry:
        schema_id = registry.register("enriched-value", ENRICHED_CONTACT.raw)
        _, found = registry.answer("GET", f"/schemas/ids/{schema_id}", None, None)
        guid = bytes.fromhex(found["guid"].replace("-", ""))
        body = Encoder(Framing()).encode(enriched)
        Consumer.messages = iter(
            [
                None,
                Message(Encoder(Framing.prefixed(schema_id)).encode(enriched), []),
                Message(body, [("__value_schema_id", b"\x01" + guid)]),
                Message(Encoder().encode(enriched), []),
                Message(msgspec.json.encode(enriched), []),
                Message(b"\xc3broken", []),
                Message(Encoder().encode(output(Status.UNAVAILABLE)), []),
            ]
        )
        names: dict[str, Any] = {}
        try:
            with pytest.raises(KeyboardInterrupt):
                exec(code.replace("http://registry:8081", registry.url), names)  # noqa: S102  our own page
        finally:
            names["reader"]._registry.close()
    lines = capsys.readouterr().out.splitlines()
    shown = f"{enriched.contact.event_id} 1970-01-01T00:00:00+00:00 ['UltraMobile']"
    assert lines[:-1] == [shown] * 4
    assert lines[-1].startswith("skipped enriched[0]@7: ")
