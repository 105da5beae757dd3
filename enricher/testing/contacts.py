"""Contact events for the demo, the tests and the benchmark: deterministic for a seed, some of them broken on purpose.

Invariants: the same arguments give the same contacts; each has an event id that is unique within its sequence
number, and a key that is its customer's id.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

CHANNELS = ("Web", "CallCenter", "Mobile", "Email", "Retail")
REASONS = ("Billing question", "Contract renewal", "Technical problem", "Upgrade", "Complaint", "Change of address")

_BROKEN: dict[str, Callable[[bytes], bytes | None]] = {
    "empty value": lambda _: None,
    "truncated JSON": lambda value: value[: len(value) // 2],
    "not JSON": lambda _: b"<contact/>",
    "no customer id": lambda value: value.replace(b'"customerId"', b'"customer"'),
    "invalid UTF-8": lambda value: value.replace(b'"reason": "', b'"reason": "\xff\xfe'),
    "impossible time": lambda value: value.replace(b'"contactTime": 1', b'"contactTime": "yesterday", "was": 1'),
    "unknown Avro schema": lambda _: b"\x00\x00\x00\x30\x39" + b"\x02a",
}
"""What can be wrong with an event, and how it is made so."""

START = 1_790_000_000_000
"""The first contact's time, milliseconds since the epoch."""


class Contact(NamedTuple):
    """One record to produce. ``broken`` names what is wrong with it, None where nothing is."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]
    broken: str | None


def contacts(count: int, *, customers: int = 1_000, broken_rate: float = 0.0, seed: int = 1) -> Iterator[Contact]:
    """``count`` contacts of ``customers`` customers; about ``broken_rate`` (0 to 1) of them are broken."""
    rng = random.Random(seed)
    kinds = list(_BROKEN)
    for number in range(count):
        customer = f"CUST-{rng.randrange(customers):06d}"
        event = {
            "eventId": f"E-{seed}-{number:08d}",
            "customerId": customer,
            "contactTime": START + number * 250,
            "channel": rng.choice(CHANNELS),
            "direction": rng.choice(("Inbound", "Outbound")),
            "reason": rng.choice(REASONS),
            "agentId": f"A-{rng.randrange(200):03d}",
            "queueSeconds": rng.randrange(600),
        }
        value: bytes | None = json.dumps(event).encode()
        broken = kinds[rng.randrange(len(kinds))] if rng.random() < broken_rate else None
        if broken is not None and value is not None:
            value = _BROKEN[broken](value)
        headers: list[tuple[str, str | bytes | None]] = [("trace", f"{seed}-{number}".encode())]
        yield Contact(customer.encode(), value, headers, broken)
