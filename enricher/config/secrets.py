"""What must not be shown: passwords and the like within settings.

Invariant: every value of a setting that leaves the process (``config``, problems, logs) goes through ``show``.
"""

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

# The words are part of a setting's or a librdkafka property's name: sasl.password, ssl.key.pem, client.secret, ...
_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|token|bearer|credential|jaas|api[._-]?key|private|key[._-]pem|oauthbearer[._-]config"
)
_NOT_SECRET = re.compile(r"(url|uri|location|_file|endpoint|method)$")  # names a place rather than holding the secret
# Within these sections the name of a setting may be misspelled (passwrd): what is not known to be public is a secret.
_AUTH = re.compile(r"^(service[._]+)?(auth|proxy)[._]|[._]auth[._]")
_PUBLIC = re.compile(r"(username|client_id|scope|url|_file)$")
_USER_INFO = re.compile(r"(?<=://).*@")  # greedy, as a password that was not escaped may hold anything
_ADDRESS = re.compile(r"(url|servers)$")
_BEFORE_AT = re.compile(r"^.*@")
_QUERY_VALUE = re.compile(r"(?<==)[^&#]+")


def is_secret(name: str) -> bool:
    """Whether a setting of this (dotted) name holds a secret."""
    name = name.lower()
    if _AUTH.search(name) and not _PUBLIC.search(name):
        return True
    return _SECRET.search(name) is not None and _NOT_SECRET.search(name) is None


def mask(name: str, value: Any) -> Any:
    """The value, with whatever is secret in it replaced: all of it, entries of a map, user info or query of a URL."""
    if is_secret(name):
        return value if value in ("", None) else MASK  # that there is none is no secret
    if isinstance(value, Mapping):
        return {key: mask(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask(name, item) for item in value]
    if not isinstance(value, str):
        return value
    if "://" in value:
        place, question, query = _USER_INFO.sub(f"{MASK}@", value).partition("?")
        return place + question + _QUERY_VALUE.sub(MASK, query)
    return _BEFORE_AT.sub(f"{MASK}@", value) if _ADDRESS.search(name) else value


def show(name: str, value: Any) -> str:
    """The value as text for a person, secrets masked."""
    masked = mask(name, value)
    if isinstance(masked, list):
        text = ",".join(str(item) for item in masked)
    elif isinstance(masked, bool):
        text = str(masked).lower()
    else:
        text = "" if masked is None else str(masked)
    return printable(text)


def printable(text: str) -> str:
    """The text, escaped if it holds what a terminal would act on."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
