"""The types of the settings: what each kind of value may be, and what is said of one that is not.

Invariants: what is checked of one value alone is checked here; the JSON Schema of a type refuses nothing that it takes.
"""

import json
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from enricher.config.problems import bad_value

MIB = 1 << 20
TOPIC_PATTERN = r"^[a-zA-Z0-9._-]{1,249}$"
URL_PATTERN = r"^https?://[^@/?#\s]+([/?][^#\s]*)?$"
LISTEN_PATTERN = r"^(off|(\[[0-9a-fA-F:.%]+\]|[^\s:/@?#\[\]]+):[0-9]{1,5})$"
INSTANCE_PATTERN = r"^[a-zA-Z0-9._-]{0,249}$"
PATH_PATTERN = r"^[^.\s]+(\.[^.\s]+)*$"

_MAX_PORT = 65_535

OFF = "off"
"""An address to listen on that is none."""


def _refuse_truth(value: Any) -> Any:
    if isinstance(value, bool):  # YAML's yes and no; Python takes them for 1 and 0
        raise bad_value("must be a whole number")
    return value


def split(value: Any) -> Any:
    """A list, also from ``a,b`` or a JSON array, as the environment and the command line give it."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise bad_value("is no JSON list", 'write a,b or ["a", "b"]') from None
    return [item.strip() for item in value.split(",")]


def _check_topic(topic: str) -> str:
    if re.fullmatch(TOPIC_PATTERN.strip("^$"), topic) is None or topic in {".", ".."}:
        raise bad_value("is no name of a topic", "up to 249 letters, digits, dots, underscores and hyphens")
    return topic


def _check_distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    if not items:
        raise bad_value("is empty", "name at least one")
    if len(set(items)) < len(items):
        raise bad_value("names one twice", "name each once")
    return items


def _check_broker(address: str) -> str:
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    host = host if colon else port
    if not host or re.search(r"[\s/@?#]", host) or (colon and not (port.isdigit() and 0 < int(port) <= _MAX_PORT)):
        raise bad_value("holds what is no broker's address", "write host:port, or several with commas between")
    return address


def _check_url(url: str) -> str:
    return check_http_url(
        url, "write the whole URL of CustomerOfferHistory, such as http://host:8080/prweb/.../V2/CustomerOfferHistory"
    )


def check_http_url(url: str, right: str) -> str:
    """Refuse what is no URL of http or https, or holds credentials. ``right`` says what to write."""
    if not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        raise bad_value("is no URL: it must be ASCII without spaces", right)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad_value("is no URL", right) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise bad_value("is no URL of http or https", right)
    if "@" in parts.netloc:
        raise bad_value("must not hold credentials", "leave out what stands before the @")
    if parts.fragment:
        raise bad_value("must not hold a fragment", "leave out the # and what follows")
    return url


def _check_path(path: str) -> str:
    if re.fullmatch(PATH_PATTERN.strip("^$"), path) is None:
        raise bad_value("is no path into the event", "write names with dots between, such as customer.id")
    return path


def _check_listen(address: str) -> str:
    port = address.rpartition(":")[2]
    if re.fullmatch(LISTEN_PATTERN.strip("^$"), address) is None or (address != OFF and int(port) > _MAX_PORT):
        raise bad_value("is no address to listen on", "write host:port, such as 0.0.0.0:8080 or [::]:8080, or off")
    return address


def _check_instance(name: str) -> str:
    if re.fullmatch(INSTANCE_PATTERN.strip("^$"), name) is None or name in {".", ".."}:
        raise bad_value("is no name of a group's member", "up to 249 letters, digits, dots, underscores and hyphens")
    return name


def _check_rate(value: Any) -> Any:
    if isinstance(value, bool):
        raise bad_value("must be a number", "requests per second, such as 50 or 0.5; 0 for no cap")
    return value


def _plain(rate: float) -> int | float:
    """As people write it."""
    return int(rate) if rate.is_integer() else rate


Rate = Annotated[
    float,
    Field(ge=0, le=1e6, allow_inf_nan=False),
    BeforeValidator(_check_rate),
    PlainSerializer(_plain, when_used="json"),
]
"""Per second; 0 for no cap."""

Count = Annotated[int, Field(ge=1), BeforeValidator(_refuse_truth)]
Topic = Annotated[str, AfterValidator(_check_topic), WithJsonSchema({"type": "string", "pattern": TOPIC_PATTERN})]
InstanceId = Annotated[
    str, AfterValidator(_check_instance), WithJsonSchema({"type": "string", "pattern": INSTANCE_PATTERN})
]
Path = Annotated[str, AfterValidator(_check_path), WithJsonSchema({"type": "string", "pattern": PATH_PATTERN})]
Listen = Annotated[
    str,
    BeforeValidator(lambda value: OFF if value is False else value),  # YAML's off, without quotes
    AfterValidator(_check_listen),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": LISTEN_PATTERN}, {"const": False}]}),
]
Properties = dict[str, Any]  # ``enricher.config.properties`` checks each


def _listed(item: dict[str, Any]) -> WithJsonSchema:
    """A list, or text with commas."""
    several = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    return WithJsonSchema({"anyOf": [several, {"type": "string", "minLength": 1}]})


Brokers = Annotated[
    tuple[Annotated[str, AfterValidator(_check_broker)], ...],
    BeforeValidator(split),
    AfterValidator(_check_distinct),
    _listed({"type": "string", "minLength": 1}),
]
Topics = Annotated[
    tuple[Topic, ...],
    BeforeValidator(split),
    AfterValidator(_check_distinct),
    _listed({"type": "string", "pattern": TOPIC_PATTERN}),
]
Url = Annotated[str, AfterValidator(_check_url), WithJsonSchema({"type": "string", "pattern": URL_PATTERN})]


class Section(BaseModel):
    """A branch of the tree."""

    model_config = ConfigDict(frozen=True, extra="forbid")
