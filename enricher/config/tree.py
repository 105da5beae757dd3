"""The tree of settings as a flat list of its leaves, made from the model.

Invariant: this is the only place that knows which names exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from enricher.config.model import Settings
from enricher.config.problems import did_you_mean
from enricher.config.values import Properties

PREFIX = "ENRICHER_"
"""Of the environment variables that are settings."""


@dataclass(frozen=True)
class Leaf:
    """One setting."""

    name: str
    info: FieldInfo

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.info.is_required()

    @property
    def default(self) -> Any:
        """What holds if nobody sets it."""
        return self.info.get_default(call_default_factory=True, validated_data={})

    @property
    def is_map(self) -> bool:
        """Whether it is a map of librdkafka properties, whose names hold dots themselves."""
        return self.info.annotation == Properties

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.replace(".", "__").upper()

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Validates and serialises this setting alone."""
        parts: Any = (self.info.annotation, self.name, *self.info.metadata)
        return TypeAdapter(Annotated[parts])

    def text(self, value: Any) -> Any:
        """The value as it is written in a file: durations and sizes with their units."""
        return self.adapter.dump_python(value, mode="json")


def _walk(model: type[BaseModel], prefix: str) -> list[Leaf]:
    found = []
    for name, info in model.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found += _walk(annotation, f"{prefix}{name}.")
        else:
            found.append(Leaf(prefix + name, info))
    return found


@cache
def leaves() -> Mapping[str, Leaf]:
    """Every setting by its name, in the order of the model."""
    return {leaf.name: leaf for leaf in _walk(Settings, "")}


@cache
def sections() -> frozenset[str]:
    """Every branch of the tree, by its name."""
    return frozenset(".".join(name.split(".")[:depth]) for name in leaves() for depth in range(1, name.count(".") + 1))


def leaf_of(name: str) -> Leaf | None:
    """The setting of that name, or the map that an entry of that name belongs to."""
    known = leaves()
    if name in known:
        return known[name]
    return next((leaf for leaf in known.values() if leaf.is_map and name.startswith(f"{leaf.name}.")), None)


def closest(name: str) -> str | None:
    """The known setting that an unknown name was probably meant to be."""
    hint = did_you_mean(name, [*leaves(), *sorted(sections())])
    if hint is not None:
        return hint.removeprefix("did you mean ").removesuffix("?")
    last = name.rpartition(".")[2]
    same = [known for known in leaves() if known.rpartition(".")[2] == last]
    return same[0] if len(same) == 1 else None


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of settings by their dotted names; every branch is there, even if it is empty."""
    tree: dict[str, Any] = {}
    for section in sorted(sections()):
        _branch(tree, section.split("."))
    for name, value in values.items():
        *branches, last = name.split(".")
        _branch(tree, branches)[last] = value
    return tree


def flatten(settings: Settings) -> dict[str, Any]:
    """The inverse: the value of every setting by its dotted name."""
    values: dict[str, Any] = {}
    for name in leaves():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        values[name] = value
    return values


def _branch(tree: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for part in path:
        tree = tree.setdefault(part, {})
    return tree
