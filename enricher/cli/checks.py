"""What ``enricher check`` looks at: brokers, topics and the service; ``registry_checks`` has the schema registry.

Invariants: nothing is written anywhere; every check runs whatever the others found, unless it needs what another one
did not find; a finding holds no credentials and no customer's history.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from enricher.cli.finding import Finding
from enricher.cli.registry_checks import check_registry
from enricher.cli.service import build_client, in_the_clear
from enricher.config import ConfigError, Settings
from enricher.model import FailureKind, LookupFailure
from enricher.retry import FailureClass, classify


async def check_all(settings: Settings, customer: str, timeout: float) -> list[Finding]:  # noqa: ASYNC109  librdkafka's
    """Look at everything, Kafka, the service and the registry at the same time."""
    kafka, service, registry = await asyncio.gather(
        asyncio.to_thread(lambda: list(check_kafka(settings, timeout))),
        check_service(settings, customer),
        asyncio.to_thread(lambda: list(check_registry(settings))),
    )
    return [*kafka, *_check_exposure(settings), service, *registry]


def check_kafka(settings: Settings, timeout: float) -> Iterator[Finding]:
    """The brokers, and the topics in them."""
    brokers = ", ".join(settings.kafka.bootstrap_servers)
    heard: list[KafkaError] = []
    properties: dict[str, Any] = {**settings.kafka.client_properties(), "error_cb": heard.append, "log_level": 2}
    admin = AdminClient(properties)
    try:
        cluster = admin.list_topics(timeout=timeout)
    except KafkaException as error:
        admin.poll(0)
        causes = {cause.str() for cause in heard if cause.code() != KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001
        yield Finding(
            "brokers",
            False,
            f"{brokers} did not answer in {timeout:g} s: {'; '.join(sorted(causes)) or error.args[0].str()}",
            "check kafka.bootstrap_servers, that the brokers are up and reached from here, and the security settings "
            "in kafka.properties (security.protocol, sasl.*, ssl.*)",
        )
        return
    yield Finding("brokers", True, f"{brokers} answered; {len(cluster.brokers)} in the cluster")
    output, dead = settings.output.topic, settings.output.dead_letter_topic
    there: list[str] = []
    for topic, role in [*((t, "input") for t in settings.input.topics), (output, "output"), (dead, "dead-letter")]:
        found = cluster.topics.get(topic)
        if found is None or found.error is not None:
            yield Finding(
                f"{role} topic",
                False,
                f"there is no topic {topic}, or this client may not see it",
                f"create it, or grant DESCRIBE and {'READ' if role == 'input' else 'WRITE'} on it",
            )
        else:
            there.append(topic)
            yield Finding(f"{role} topic", True, f"{topic} has {len(found.partitions)} partitions")
    if dead in there:
        yield from _check_sizes(admin, settings, [topic for topic in settings.input.topics if topic in there], timeout)


def _check_sizes(admin: AdminClient, settings: Settings, inputs: list[str], timeout: float) -> Iterator[Finding]:
    """Whether any input record fits into the dead-letter topic: one that does not would stop the worker."""
    dead = settings.output.dead_letter_topic
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in [dead, *inputs]]
    limits: dict[str, int] = {}
    for resource, answer in admin.describe_configs(resources, request_timeout=timeout).items():
        try:
            limits[resource.name] = int(answer.result(timeout)["max.message.bytes"].value)
        except (KafkaException, KeyError, TimeoutError):
            return  # not ours to see: no finding rather than a wrong one
    largest = max((limits[topic] for topic in inputs), default=0)
    if limits[dead] < largest:
        yield Finding(
            "dead-letter topic",
            False,
            f"{dead} takes records of {limits[dead]} bytes, an input topic of {largest}: a larger dead letter could "
            "not be written, and would stop the worker",
            f"set max.message.bytes of {dead} to at least {largest + 16_384}",
        )


def _check_exposure(settings: Settings) -> Iterator[Finding]:
    """Whether credentials travel where others may read them. It works, so it is no failure."""
    if (name := in_the_clear(settings)) is not None:
        message = f"warning: {name} is http, so that whoever is on the way can read the credentials"
        yield Finding("credentials", True, message, f"write https in {name}, if the service has it")


_REMEDIES = {
    FailureKind.CONNECTION: "check the host and port of service.url, and that the service is up and reached from here",
    FailureKind.TIMEOUT: "is the service overloaded, or service.timeout too short?",
    FailureKind.UNAUTHORIZED: "the service wants (other) credentials: see service.auth",
    FailureKind.NO_TOKEN: "check service.auth.oauth2: token_url, client_id, client_secret",
    FailureKind.FORBIDDEN: "the credentials lack the right, or the service wants https",
    FailureKind.NOT_FOUND: "service.url has to be the whole URL, such as http://host:port/prweb/.../V2/CustomerOfferHistory",
    FailureKind.REDIRECT: "set service.url to where the redirect leads; redirects are never followed",
    FailureKind.NOT_JSON: "service.url leads to something else, perhaps a gateway's page",
}


async def check_service(settings: Settings, customer: str) -> Finding:
    """One request to the service."""
    try:
        client = build_client(settings)
    except ConfigError as error:
        return Finding("service", False, str(error), "right the files that the settings name")
    try:
        answer = await client.fetch(customer)
    except LookupFailure as failure:
        if classify(failure.kind) is FailureClass.EVENT:
            return Finding("service", True, f"answers, and calls this customer id bad ({failure.kind})")
        remedy = _REMEDIES.get(failure.kind, "look at the service's own logs")
        return Finding("service", False, f"{failure.kind}: {failure.message}", remedy)
    finally:
        await client.close()
    return Finding("service", True, f"answers; {len(answer.offers)} offers for this customer")
