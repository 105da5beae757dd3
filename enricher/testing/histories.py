"""The histories that the service serves: from a JSON-lines file, from Python values, or generated from the customer id.

Invariants: a history is a pure function of the customer id and the options: the same in every process, on every
platform and Python version. Bodies are JSON in the documented shape; generated ones have the keys in the order of the
documentation's sample. An unknown customer has an empty list.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
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
        ("Sales", "Handsets", ("UltraMobile", "MI", "GoogleNexus4", "GalaxyFold", "PixelPro")),
        ("Sales", "Tariffs", ("DataPlan100Min", "Weekend", "FamilyShare", "StudentFlat")),
        ("Sales", "Extras", ("MemoryCard_V2_M3", "FastCharger", "HeadsetPro")),
        ("Retention", "Credits", ("Loyalty10", "PriceLock12", "FreeUpgrade")),
        ("Retention", "Contracts", ("EarlyRenewal", "ContractPause")),
        ("Service", "Digital", ("PaperlessBill", "SelfService", "AutoPay")),
        ("Content", "Video", ("SportsPass", "MusicTrial", "CinemaSunday")),
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
_MINUTES = tuple(f"T{minute // 60:02d}{minute % 60:02d}" for minute in range(24 * 60))
_NEGOTIATION = _Proposition("Negotiation", "Negotiation", "Negotiation")
_DRAWS = struct.Struct(">QqHBBBBBB")  # of one offer: gap, interaction, external id, and six choices


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
        noise = hashlib.shake_256(state).digest(count * _DRAWS.size)
        # From the newest back: each gap is at most the share that keeps the oldest within the days of the table.
        instant = len(_DAYS) * _DAY_MS - 1 - int.from_bytes(state[16:20]) % (30 * _DAY_MS)
        longest_gap = (700 * _DAY_MS) // max(count, 1)
        offers = []
        for index, draws in enumerate(_DRAWS.iter_unpack(noise)):
            instant -= draws[0] % longest_gap
            offers.append(_bundle(draws, instant) if index == bundle_at else _offer(draws, instant))
        return f'{{"OfferHistory":[{",".join(offers)}]}}'.encode()


def _offer(draws: tuple[int, ...], instant: int, what: _Proposition | None = None, nested: str = "") -> str:
    """One offer. Written out rather than encoded from a value, since a benchmark pays for it."""
    _, interaction, number, has_number, choice, contact, reaction, _, _ = draws
    name, issue, group = what or _CATALOGUE[choice % len(_CATALOGUE)]
    channel, direction = _CHANNELS[contact % len(_CHANNELS)]
    outcome, behaviour = _OUTCOMES[reaction % len(_OUTCOMES)]
    external = f"S-{number}" if has_number % 4 == 0 else ""
    day, millis = divmod(instant, _DAY_MS)
    minute, millis = divmod(millis, 60_000)
    return (
        f'{{"Name":"{name}","Issue":"{issue}","Channel":"{channel}","InteractionID":"{interaction}",'
        f'"ExternalID":"{external}","OutcomeTime":"{_DAYS[day]}{_MINUTES[minute]}{millis / 1000:06.3f} GMT",'
        f'"Behaviour":"{behaviour}",{nested}"Outcome":"{outcome}","Identifier":"/{issue}/{group}/{name}",'
        f'"Direction":"{direction}","Group":"{group}"}}'
    )


def _bundle(draws: tuple[int, ...], instant: int) -> str:
    """A negotiation record with two to four offers, of which only the names are told, as in the documentation."""
    first, count = draws[7] % len(_CATALOGUE), 2 + draws[8] % 3
    names = (_CATALOGUE[(first + step * 5) % len(_CATALOGUE)].name for step in range(count))
    listed = ",".join(f'{{"Name":"{name}"}}' for name in names)
    return _offer(draws, instant, _NEGOTIATION, f'"OfferHistory":[{listed}],')


def pretty(body: bytes) -> bytes:
    """The same JSON, indented as in the documentation's sample."""
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode()
