"""The settings of schemas: the registry, and a folder of schemas besides.

Invariants: a secret is never in a ``repr``, and each may come from a file instead (``*_file``); an empty text means
that it is not set. What contradicts what is in ``enricher.config.registry_rules``.
"""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from enricher.config.problems import bad_value
from enricher.config.transport import Basic, Text, Tls, Token
from enricher.config.units import Duration
from enricher.config.values import Section, check_http_url, split

_RIGHT = "write its address, such as http://registry:8081"


def _check_urls(text: str) -> str:
    return ",".join(check_http_url(url.strip(), _RIGHT).rstrip("/") for url in text.split(","))


def _check_key(key: Any) -> Any:
    """An id or a GUID, as text."""
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if isinstance(key, str) and key.isdigit() and int(key) < 1 << 32:
        return str(int(key))
    try:
        return str(UUID(key))
    except (AttributeError, TypeError, ValueError):
        raise bad_value("holds what is no schema id, nor a GUID", "write ids with commas between: 1,2") from None


_LIST = {"type": ["string", "integer"]}
Keys = Annotated[
    tuple[Annotated[str, BeforeValidator(_check_key)], ...],
    BeforeValidator(split),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _LIST}, {"type": "string"}, {"type": "integer"}]}),
]
Urls = Annotated[str, AfterValidator(_check_urls), WithJsonSchema({"type": "string", "pattern": "^https?://"})]


class RegistryBearer(Section):
    """A token with each request."""

    token: Token = Field(default="", repr=False, description="Token for bearer authentication.")
    token_file: Text = Field(default="", description="File with the token, instead; read at start.")


class RegistryAuth(Section):
    """How the worker proves who it is; one kind at most."""

    basic: Basic = Field(default_factory=Basic)
    bearer: RegistryBearer = Field(default_factory=RegistryBearer)


class RegistryTls(Tls):
    """Certificates; the files are read at start."""

    ca_file: Text = Field(
        default="", description="PEM file of the certificate authorities to trust, instead of the public ones."
    )


class SchemaRegistry(Section):
    """A schema registry with Confluent's REST API."""

    url: Urls = Field(
        default="", description="Its address; of several instances with commas between. Without it, no registry."
    )
    framing: Literal["prefix", "header"] = Field(
        default="prefix",
        description="How outputs tell their schema: prefix (a zero byte and the id) or header (the GUID in "
        "`__value_schema_id`; older readers cannot read it). Inputs may have either.",
    )
    auto_register: bool = Field(
        default=False,
        description="Register the output's schema if it is not, at start, or a derived one when its first event comes; "
        "else somebody has to.",
    )
    subject_strategy: Literal["topic", "record", "topic-record"] = Field(
        default="topic", description="How the subject of the output is called: TOPIC-value, RECORD or TOPIC-RECORD."
    )
    allowed: Keys = Field(
        default=(), description="Schema ids and GUIDs that inputs may have; others are dead letters. All by default."
    )
    timeout: Duration = Field(default=5.0, description="For one request.")
    auth: RegistryAuth = Field(default_factory=RegistryAuth)
    tls: RegistryTls = Field(default_factory=RegistryTls)


class Schemas(Section):
    """Avro schemas of inputs that no registry tells."""

    path: Text = Field(
        default="",
        description="File or folder of `.avsc` files: schemas of single objects that may come besides the "
        "CustomerContact.",
    )
