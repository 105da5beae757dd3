"""Properties of librdkafka: any that exists, but for those that the worker owns."""

import pytest

from enricher.config.properties import BOUND, OWNED, check
from enricher.consumer import FIXED as SOURCE_FIXED
from enricher.sink import FIXED as SINK_FIXED
from enricher.transactions import FIXED as TRANSACTIONS_FIXED

FIXED: dict[str, str | int | float | bool] = SOURCE_FIXED | SINK_FIXED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.password", "p"),
        ("ssl.ca.location", "/none/such"),
        ("linger.ms", 5),
        ("linger.ms", "5"),
        ("auto.offset.reset", "latest"),
        ("enable.ssl.certificate.verification", True),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("acks", -1),
        ("max.in.flight", 1),
        ("test.mock.num.brokers", 1),
    ],
)
def test_accepted(name: str, value: object) -> None:
    """What librdkafka takes is taken, without a client being made."""
    assert check(name, value) is None


@pytest.mark.parametrize("name", [*OWNED, "error_cb", "stats_cb"])
def test_what_the_worker_owns_is_refused_with_the_reason(name: str) -> None:
    """Whatever the value."""
    for value in ("true", "false", "1", "x"):
        wrong = check(name, value)
        assert wrong is not None
        assert all(wrong)


@pytest.mark.parametrize("name", BOUND)
def test_what_would_break_idempotence_is_refused(name: str) -> None:
    """One value for each that reorders or repeats."""
    breaking = {"enable.idempotence": "false", "acks": "1", "request.required.acks": 0, "queuing.strategy": "lifo"}
    wrong = check(name, breaking.get(name, 6 if "flight" in name else 0))
    assert wrong is not None
    assert "idempotent" in wrong[0]


@pytest.mark.parametrize("name", FIXED)
def test_whatever_the_adapters_fix_cannot_be_set(name: str) -> None:
    """A setting that is accepted has an effect: one that the worker overrides must not be accepted."""
    assert check(name, not FIXED[name]) is not None


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("security_protocol", "SSL", "did you mean security.protocol?"),
        ("no.such.property", "x", "its CONFIGURATION.md lists them all"),
        ("batch.size", 0, "allowed is 1..2147483647"),
        ("security.protocol", "TLS", "its CONFIGURATION.md says more"),
        ("linger.ms", "soon", "its CONFIGURATION.md says more"),
        ("client.id", "a\x00b", "use UTF-8 without NUL characters"),
        ("client.id", "\udcff", "use UTF-8 without NUL characters"),
        ("\udcff", "x", "use UTF-8 without NUL characters"),
        ("", "x", "its CONFIGURATION.md lists them all"),
        ("linger.ms", None, "write the property's whole name as one key, such as security.protocol: SASL_SSL"),
    ],
)
def test_refused_by_librdkafka(name: str, value: object, hint: str) -> None:
    """Unknown names and bad values are refused as librdkafka would, before anything connects."""
    wrong = check(name, value)
    assert wrong is not None
    assert wrong[1] == hint


def test_the_producers_send_one_request_at_a_time() -> None:
    """Of either guarantee, whatever is set: librdkafka takes a refused request for written if a later one was.

    That is so where a broker has forgotten the producer, and takes the later one (see ``enricher.sink.ONE_BY_ONE``).
    """
    for fixed in (SINK_FIXED, TRANSACTIONS_FIXED):
        assert fixed["max.in.flight"] == 1
    for name in ("max.in.flight", "max.in.flight.requests.per.connection"):
        assert [check(name, value) is None for value in (1, "1", 2, "5")] == [True, True, False, False]
