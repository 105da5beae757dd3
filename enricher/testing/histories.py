"""The histories that the service serves: from a JSON-lines file, from Python values, or generated from the customer id.

Invariants: a history is a pure function of the customer id and the options: the same in every process, on every
platform and Python version. Bodies are JSON in the documented shape; generated ones have the keys in the order of the
documentation's sample. An unknown customer has an empty list.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

EMPTY = b'{"OfferHistory":[]}'


class Histories(Protocol):
    """What the service serves."""

    def body(self, customer_id: str) -> bytes:
        """The JSON body of this customer's answer."""
        ...


class FixedHistories:
    """Histories that were written down: bodies by customer id."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self._bodies = dict(bodies)

    @classmethod
    def of(cls, offers: Mapping[str, Sequence[Mapping[str, Any]]]) -> "FixedHistories":
        """Histories from Python values: lists of offers by customer id."""
        return cls({customer: msgspec.json.encode({"OfferHistory": listed}) for customer, listed in offers.items()})

    @classmethod
    def load(cls, path: Path) -> "FixedHistories":
        """Histories from a JSON-lines file: ``{"CustomerID": "...", "OfferHistory": [...]}`` on each line.

        Only the structure is checked, since a file may hold offers that break the contract on purpose. Their text is
        served as it stands in the file. Empty lines are skipped.

        Raises:
            ValueError: with file:line and what is wrong.
            OSError: the file cannot be read.
        """
        bodies: dict[str, bytes] = {}
        lines: dict[str, int] = {}
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    parsed = _LINE.decode(line)
                    _OFFERS.decode(parsed.OfferHistory)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise ValueError(f"{path}:{number}: {error}") from error
                if not parsed.CustomerID:
                    raise ValueError(f"{path}:{number}: CustomerID is empty")
                if (first := lines.setdefault(parsed.CustomerID, number)) != number:
                    raise ValueError(f"{path}:{number}: the same CustomerID as in line {first}")
                bodies[parsed.CustomerID] = b'{"OfferHistory":%b}' % bytes(parsed.OfferHistory)
        return cls(bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    def body(self, customer_id: str) -> bytes:
        """The body as it was given, or an empty list."""
        return self._bodies.get(customer_id, EMPTY)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    CustomerID: str
    OfferHistory: msgspec.Raw


_LINE = msgspec.json.Decoder(_Line)
_OFFERS = msgspec.json.Decoder(list[dict[str, Any]])


class _Proposition(NamedTuple):
    name: str
    issue: str
    group: str


_CATALOGUE = tuple(
    _Proposition(name, issue, group)
    for issue, group, names in (
        ("Sales", "Handsets", ("UltraMobile", "MI", "Handsets_fromGoogleNexus4", "GalaxyFold", "PixelPro")),
        ("Sales", "Tariffs", ("DataPlan100Min", "UnlimitedWeekend", "FamilyShare", "StudentFlat")),
        ("Sales", "Accessories", ("MemoryCard_V2_M3", "WirelessCharger", "HeadsetPro")),
        ("Retention", "Discounts", ("LoyaltyCredit10", "PriceLock12Months", "FreeUpgrade")),
        ("Retention", "Contracts", ("EarlyRenewal", "ContractPause")),
        ("Service", "Digital", ("PaperlessBilling", "SelfServiceApp", "AutoPay")),
        ("Recommendations", "Entertainment", ("SportsPass", "MusicTrial", "CinemaSunday")),
    )
    for name in names
)
_CHANNELS = (("Web", "Inbound"), ("CallCenter", "Inbound"), ("Mobile", "Inbound"), ("Retail", "Inbound"),
             ("Email", "Outbound"), ("SMS", "Outbound"), ("Push", "Outbound"))  # fmt: skip
# As in the field: most offers are only seen.
_OUTCOMES = (
    *[("Impression", "Neutral")] * 7,
    *[("Clicked", "Positive")] * 3,
    *[("Accepted", "Positive")] * 2,
    *[("Rejected", "Negative")] * 3,
    ("NoResponse", "Neutral"),
)
_FIRST_DAY = date(2024, 1, 1)
_DAYS = tuple((_FIRST_DAY + timedelta(days=day)).strftime("%Y%m%d") for day in range(731))
_DAY_MS = 86_400_000
_OFFER = (
    '{"Name":"%s","Issue":"%s","Channel":"%s","InteractionID":"%d","ExternalID":"%s","OutcomeTime":"%s","Behaviour":"%s",'
    '%s"Outcome":"%s","Identifier":"/%s/%s/%s","Direction":"%s","Group":"%s"}'
)
_NEGOTIATION = _Proposition("Negotiation", "Negotiation", "Negotiation")
_BYTES_PER_OFFER = 24


def format_outcome_time(epoch_ms: int) -> str:
    """An instant (ms since the epoch) as the service writes it: ``20160225T125501.526 GMT``."""
    seconds, millis = divmod(epoch_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}.{millis:03d} GMT"


class GeneratedHistories:
    """Histories derived from the customer id and a seed: newest offer first, as the service has them.

    Args:
        offers: how many each known customer has: a number, or the least and the most.
        unknown_rate: the share of customers that the service does not know.
        bundle_rate: the share of known customers one of whose offers is a negotiation (bundle) record.
        seed: another seed, other histories.

    Raises:
        ValueError: an option makes no sense.
    """

    def __init__(
        self,
        *,
        offers: int | tuple[int, int] = 10,
        unknown_rate: float = 0.0,
        bundle_rate: float = 0.1,
        seed: int = 0,
    ) -> None:
        least, most = (offers, offers) if isinstance(offers, int) else offers
        if not 0 <= least <= most:
            raise ValueError(f"offers: {least} to {most} is no range of counts")
        for name, rate in (("unknown_rate", unknown_rate), ("bundle_rate", bundle_rate)):
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} is {rate}: it must be from 0 to 1")
        self._least, self._span = least, most - least + 1
        self._unknown, self._bundle = round(unknown_rate * 2**32), round(bundle_rate * 2**32)
        # A keyed hash, neither hash() nor random: both may differ between processes or versions of Python.
        self._key = f"{seed}\0".encode()

    def body(self, customer_id: str) -> bytes:
        """The generated body. A lone surrogate in the id counts as itself."""
        state = hashlib.blake2b(self._key + customer_id.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        if int.from_bytes(state[0:4]) < self._unknown:
            return EMPTY
        count = self._least + int.from_bytes(state[4:8]) % self._span
        bundle_at = int.from_bytes(state[12:16]) % count if count and int.from_bytes(state[8:12]) < self._bundle else -1
        noise = hashlib.shake_256(state).digest(count * _BYTES_PER_OFFER)
        # From the newest back: each gap is at most the share that keeps the oldest within the days of the table.
        instant = len(_DAYS) * _DAY_MS - 1 - int.from_bytes(state[16:20]) % (30 * _DAY_MS)
        longest_gap = (700 * _DAY_MS) // max(count, 1)
        offers = []
        for index in range(count):
            part = noise[index * _BYTES_PER_OFFER : (index + 1) * _BYTES_PER_OFFER]
            instant -= int.from_bytes(part[0:5]) % longest_gap
            offers.append(_bundle(part, instant) if index == bundle_at else _offer(part, instant))
        return f'{{"OfferHistory":[{",".join(offers)}]}}'.encode()


def _offer(part: bytes, instant: int, what: _Proposition | None = None, nested: str = "") -> str:
    name, issue, group = what or _CATALOGUE[part[5] % len(_CATALOGUE)]
    channel, direction = _CHANNELS[part[6] % len(_CHANNELS)]
    outcome, behaviour = _OUTCOMES[part[7] % len(_OUTCOMES)]
    external = f"S-{int.from_bytes(part[9:11])}" if part[8] % 4 == 0 else ""
    interaction = int.from_bytes(part[11:19], signed=True)
    day, millis = divmod(instant, _DAY_MS)
    seconds, millis = divmod(millis, 1000)
    minutes, seconds = divmod(seconds, 60)
    time = f"{_DAYS[day]}T{minutes // 60:02d}{minutes % 60:02d}{seconds:02d}.{millis:03d} GMT"
    return _OFFER % (
        name, issue, channel, interaction, external, time, behaviour,
        nested, outcome, issue, group, name, direction, group,
    )  # fmt: skip


def _bundle(part: bytes, instant: int) -> str:
    """A negotiation record with two to four offers, of which only the names are told, as in the documentation."""
    first, count = part[19] % len(_CATALOGUE), 2 + part[20] % 3
    names = (_CATALOGUE[(first + step * 5) % len(_CATALOGUE)].name for step in range(count))
    listed = ",".join(f'{{"Name":"{name}"}}' for name in names)
    return _offer(part, instant, _NEGOTIATION, f'"OfferHistory":[{listed}],')


def pretty(body: bytes) -> bytes:
    """The same JSON, indented as in the documentation's sample."""
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode()
