"""What contradicts what in credentials and certificates, wherever in the tree they stand.

Invariant: a setting that is wrong in itself counts as being there, so that one mistake is told once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from enricher.config.contradiction import Contradiction, Rule, Values


def needs(name: str, needed: str, *alternatives: str) -> Rule:
    """A setting that means nothing without another one."""
    choices = (needed, *alternatives)

    def rule(values: Values) -> Iterator[Contradiction]:
        if values.get(name) and all(choice in values and not values[choice] for choice in choices):
            yield Contradiction(name, f"needs {' or '.join(choices)}", "set both, or neither")

    return rule


def in_file(secret: str) -> tuple[str, str]:
    """The two settings that a secret may stand in."""
    return secret, f"{secret}_file"


def one_source(*secrets: str) -> Rule:
    """A secret stands in the settings or in a file."""

    def rule(values: Values) -> Iterator[Contradiction]:
        for name in secrets:
            if values.get(name) and values.get(f"{name}_file"):
                yield Contradiction(f"{name}_file", f"is set, and so is {name}", "leave one of the two out")

    return rule


def one_kind(kinds: Mapping[str, str]) -> Rule:
    """Two kinds of credentials would both claim the one header.

    Args:
        kinds: the prefix of each kind's settings by its name.
    """

    def rule(values: Values) -> Iterator[Contradiction]:
        used = [(kind, name) for kind, prefix in kinds.items() if (name := _first(values, prefix))]
        for kind, name in used[1:]:
            first, blamed = used[0]
            message = f"asks for {kind} credentials, and {blamed} for {first} ones: a request can carry one kind"
            yield Contradiction(name, message, "leave one of the two out")

    return rule


def password(prefix: str) -> tuple[Rule, ...]:
    """A user name and a password need each other."""
    username, secret = f"{prefix}username", f"{prefix}password"
    return (
        needs(username, *in_file(secret)),
        *(needs(name, username) for name in in_file(secret)),
    )


def certificates(prefix: str, url: str, *other_urls: str) -> tuple[Rule, ...]:
    """A certificate and its key need each other, and have no effect on plain HTTP, which nobody means who sets them.

    Args:
        prefix: of the settings of TLS.
        url: the setting of where to connect, of several addresses with commas between.
        other_urls: settings of other addresses that the same certificates are for.
    """
    certificate, key = f"{prefix}cert_file", f"{prefix}key_file"

    def used(values: Values) -> Iterator[Contradiction]:
        name = _first(values, prefix)
        if values.get(url) and name and not any(_is_https(values.get(where)) for where in (url, *other_urls)):
            yield Contradiction(name, f"has no effect, as {url} is not https", f"write https in {url}")

    return (
        needs(certificate, key),
        needs(key, certificate),
        *(needs(name, key) for name in in_file(f"{prefix}key_password")),
        used,
    )


def _first(values: Values, prefix: str) -> str | None:
    return next((name for name, value in values.items() if name.startswith(prefix) and value), None)


def _is_https(urls: Any) -> bool:
    return isinstance(urls, str) and any(url.lower().startswith("https:") for url in urls.split(","))
