"""What is told about settings: the page, the schema, the rows of the effective ones."""

import re
from pathlib import Path
from typing import Any

import pytest

from enricher.config import Settings, load
from enricher.config.document import json_schema, markdown, rows
from enricher.config.tree import flatten, leaves, nest, sections

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]


def node_of(name: str) -> dict[str, Any]:
    """The part of the schema that describes a setting."""
    schema = json_schema()
    node = schema
    for part in name.split("."):
        node = node["properties"][part]
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]] | {k: v for k, v in node.items() if k != "$ref"}
    return node


def test_the_page_of_settings_is_current() -> None:
    """`enricher config --docs > docs/settings.md` was run after the last change of the model."""
    assert PAGE.read_text(encoding="utf-8") == markdown()


def test_every_setting_is_described() -> None:
    """A line of the page each, and in the schema a text of one sentence at least."""
    page = markdown()
    for name in leaves():
        assert f"| `{name}` | " in page
        assert node_of(name)["description"].endswith(".")


def test_unknown_keys_are_refused_on_every_level() -> None:
    """An editor marks a wrong name as the program refuses it."""
    assert json_schema()["additionalProperties"] is False
    for section in sections():
        assert node_of(section)["additionalProperties"] is False, section


def test_a_file_may_leave_settings_to_other_sources() -> None:
    """So nothing is required in it."""
    schema = json_schema()
    assert not [node for node in [schema, *schema["$defs"].values()] if "required" in node]


def test_durations_and_sizes_are_text_with_a_pattern() -> None:
    """As people write them, not as the code has them; and the defaults likewise."""
    timeout = node_of("service.timeout")
    assert (timeout["type"], timeout["default"]) == ("string", "5s")
    assert re.search(timeout["pattern"], "250ms")
    assert not re.search(timeout["pattern"], "5")
    size = node_of("buffer.max_bytes")
    assert size["default"] == "64MiB"
    assert [kind["type"] for kind in size["anyOf"]] == ["string", "integer"]


def test_the_schema_knows_choices_lists_and_limits() -> None:
    """The kinds of settings that are no plain text."""
    assert node_of("input.format")["enum"] == ["auto", "json", "avro"]
    assert node_of("delivery.order")["enum"] == ["key", "partition", "none"]
    assert node_of("service.max_in_flight")["minimum"] == 1
    assert [kind["type"] for kind in node_of("input.topics")["anyOf"]] == ["array", "string"]
    assert node_of("kafka.properties")["type"] == "object"


@pytest.mark.parametrize("name", [name for name, leaf in leaves().items() if not leaf.required])
def test_every_default_is_right_as_it_is_written(name: str) -> None:
    """What page and schema say is the default may be written into a file, and means the default."""
    leaf = leaves()[name]
    if leaf.default == "":  # derived, or none
        assert "default" not in node_of(name)
    else:
        written = node_of(name)["default"]
        assert leaf.adapter.validate_python(written) == leaf.default


def test_the_tree_and_its_leaves_are_inverse() -> None:
    """Flattened and nested again, the settings are the same."""
    settings = load(None, {}, REQUIRED).settings
    written = {name: leaves()[name].text(value) for name, value in flatten(settings).items() if value != ""}
    assert Settings.model_validate(nest(written)) == settings


def test_rows_hold_every_setting_with_its_source_and_no_secret() -> None:
    """A map has one row for each of its properties, or one if it is empty."""
    overrides = [*REQUIRED, "kafka.consumer.sasl.password=hunter2", "kafka.consumer.client.rack=r"]
    loaded = load(None, {"ENRICHER_SERVICE__TIMEOUT": "2s"}, overrides)
    found = {row.name: row for row in rows(loaded)}
    assert found["service.timeout"].value == "2s"
    assert found["service.timeout"].origin == "ENRICHER_SERVICE__TIMEOUT"
    assert found["kafka.consumer.sasl.password"].value == "***"
    assert found["kafka.consumer.client.rack"].text == "r"
    assert found["kafka.producer"].value == {}
    assert found["kafka.producer"].text == "{}"
    assert found["input.topics"].value == ["in"]
    assert found["service.max_in_flight"].value == 64
    assert set(leaves()) - set(found) == {"kafka.consumer"}
    assert "hunter2" not in f"{found}{loaded.settings!r}"
