"""Settings for readers: the effective ones as rows, all of them as JSON Schema and as Markdown."""

import inspect
import json
from dataclasses import dataclass
from typing import Any

from enricher.config.loading import Loaded
from enricher.config.model import Settings
from enricher.config.rules import DEAD_LETTER_TOPIC
from enricher.config.secrets import mask, show
from enricher.config.tree import Leaf, flatten, leaves


@dataclass(frozen=True, slots=True)
class Row:
    """One effective setting: its value as JSON has it and as text, secrets masked, and where it comes from."""

    name: str
    value: Any
    text: str
    origin: str


def rows(loaded: Loaded) -> list[Row]:
    """Every setting, in the order of the documentation; a map that is not empty has a row for each property."""
    found = []
    for name, value in flatten(loaded.settings).items():
        if isinstance(value, dict) and value:
            items = {f"{name}.{key}": item for key, item in value.items()}
        else:
            items = {name: leaves()[name].text(value)}
        for item_name, item in items.items():
            text = "{}" if item == {} else show(item_name, item)
            found.append(Row(item_name, mask(item_name, item), text, loaded.origins[item_name]))
    return found


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file of settings.

    Nothing is required, as a file may leave to the environment or the command line what it does not say.
    """
    schema = Settings.model_json_schema()
    for model in [schema, *schema["$defs"].values()]:
        model.pop("required", None)
    for leaf in leaves().values():
        node = schema
        *branches, last = leaf.name.split(".")
        for part in branches:
            node = schema["$defs"][node["properties"][part]["$ref"].rpartition("/")[2]]
        node["properties"][last].pop("default", None)
        if not leaf.required and leaf.default != "":
            node["properties"][last]["default"] = leaf.text(leaf.default)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_INTRODUCTION = """\
# Settings

<!-- Made by `enricher config --docs`; change enricher/config/model.py, not this page. -->

A setting is written in a YAML file (`--config FILE`, or `ENRICHER_CONFIG`), in the environment, or on the command line;
the command line wins over the environment, that over the file:

```yaml
service:
  timeout: 2s
```

    ENRICHER_SERVICE__TIMEOUT=2s
    --set service.timeout=2s

- Durations are written `250ms`, `5s`, `2m`, `1h`; sizes `512B`, `64KiB`, `1MiB`, `10MB`, or as a number of bytes.
- Lists are YAML lists, or text with commas (`a,b`), or JSON.
- `kafka.properties`, `kafka.consumer` and `kafka.producer` take any property of librdkafka but those that the worker
  owns. On the command line what follows the map's name is the property's (`--set
  kafka.properties.security.protocol=SASL_SSL`); in the environment it is a JSON object, or the property's name with
  underscores for its dots (`ENRICHER_KAFKA__PROPERTIES__SASL_PASSWORD`). Maps of several sources are put together.
- Secrets belong into the file or the environment: a command line is seen by every user of the machine. What is called
  a password, secret, token or the like is masked wherever settings are shown.
- Whatever is wrong is refused at start, all of it at once, an unknown setting included.
- `enricher config` shows the effective settings and their sources, without secrets; `enricher config --schema` prints
  a JSON Schema for editors and charts.
"""


def markdown() -> str:
    """The documentation of all settings."""
    parts = [_INTRODUCTION]
    section = ""
    for leaf in leaves().values():
        if leaf.name.partition(".")[0] != section:
            section = leaf.name.partition(".")[0]
            purpose = inspect.getdoc(Settings.model_fields[section].annotation)
            parts.append(f"\n## {section}\n\n{purpose}\n\n| setting | default | meaning |\n|---|---|---|\n")
        parts.append(f"| `{leaf.name}` | {_default(leaf)} | {leaf.info.description} |\n")
    return "".join(parts)


def _default(leaf: Leaf) -> str:
    if leaf.required:
        return "required"
    text = leaf.text(leaf.default)
    if text == "":
        return "derived" if leaf.name == DEAD_LETTER_TOPIC else "none"
    return f"`{json.dumps(text) if isinstance(text, dict | bool) else text}`"
