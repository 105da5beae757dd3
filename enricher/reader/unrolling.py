"""Schemas made safe to read with: without logical types, and with types within themselves written out to a depth.

The bytes that they describe are the same. What would go deeper is an enum of one symbol, which one zero byte stands
for, as it does for an empty list; anything else in its place is an error.
"""

from typing import Any


def plain_schema(raw: Any) -> Any:
    """The schema with plain numbers for instants."""
    if isinstance(raw, dict):
        return {key: plain_schema(value) for key, value in raw.items() if key != "logicalType"}
    return [plain_schema(item) for item in raw] if isinstance(raw, list) else raw


def unrolled(raw: Any, levels: int) -> Any:
    """The schema with offers written out that many times instead of referring to themselves.

    Args:
        raw: an ``EnrichedContact``, of which only the offers do so: in lists, their bundles.
        levels: how many levels of offers there are to be.
    """
    return _Unroller(levels).copy(raw)


class _Unroller:
    def __init__(self, levels: int) -> None:
        self._levels = levels

    def copy(self, raw: Any) -> Any:
        if isinstance(raw, list):
            return [self.copy(item) for item in raw]
        if not isinstance(raw, dict):
            return raw
        if raw.get("type") == "record" and raw.get("name") == "Offer":
            return self._offer(raw, 0)
        return {key: self.copy(value) if key in ("type", "items", "fields") else value for key, value in raw.items()}

    def _offer(self, raw: dict[str, Any], level: int) -> dict[str, Any]:
        fields = []
        for field in raw["fields"]:
            kind = field["type"]
            if isinstance(kind, dict) and kind.get("items") == "enricher.Offer":
                if level + 1 == self._levels:
                    end = {"type": "enum", "name": "Empty", "symbols": ["EMPTY"]}
                    fields.append({"name": "end", "type": end})
                else:
                    inner = self._offer(raw, level + 1)
                    fields.append({"name": field["name"], "type": {"type": "array", "items": inner}})
            else:
                fields.append({"name": field["name"], "type": kind})
        return {**raw, "name": f"Offer{level}", "fields": fields}
