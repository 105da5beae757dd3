"""The settings of traces."""

from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from enricher.config.problems import bad_value
from enricher.config.values import URL_PATTERN, Section, check_http_url


def _check_endpoint(url: str) -> str:
    return check_http_url(url, "write the whole URL of an OTLP collector, such as http://host:4318/v1/traces")


def _refuse_truth(value: Any) -> Any:
    if isinstance(value, bool):  # Python takes them for 1 and 0
        raise bad_value("must be a number from 0 to 1")
    return value


Endpoint = Annotated[str, AfterValidator(_check_endpoint), WithJsonSchema({"type": "string", "pattern": URL_PATTERN})]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_refuse_truth)]


class Tracing(Section):
    """Traces by OpenTelemetry, which needs the extra `enricher[tracing]`."""

    enabled: bool = Field(default=False, description="Whether to trace events.")
    sample_ratio: Share = Field(
        default=0.01,
        description="Share of the events to trace, of those whose record does not say itself whether it is traced.",
    )
    endpoint: Endpoint = Field(
        default="http://localhost:4318/v1/traces",
        description="URL of the collector, for OTLP over HTTP; `OTEL_EXPORTER_OTLP_HEADERS` may hold its credentials.",
    )


def is_installed() -> bool:
    """Whether what traces need is there."""
    try:
        return (
            find_spec("opentelemetry.sdk") is not None
            and find_spec("opentelemetry.exporter.otlp.proto.http") is not None
        )
    except ModuleNotFoundError:
        return False
