"""The settings of how the service is reached: credentials, TLS, a proxy.

Invariants: a secret is never in a ``repr``; each may come from a file instead (``*_file``); an empty text means that it
is not set. What contradicts what is in ``enricher.config.transport_rules``.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from enricher.config.problems import bad_value
from enricher.config.values import URL_PATTERN, Section, check_http_url

_TOKEN = re.compile(r"[\x21-\x7e]+")


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise bad_value("holds a line break or another control character", "write it without; is there one at the end?")
    return text


def _check_username(text: str) -> str:
    if ":" in text:
        raise bad_value("must not hold a colon", "HTTP's basic authentication has no way to send one")
    return _one_line(text)


def check_token(text: str) -> str:
    """Refuse what cannot be sent as a bearer token."""
    if _TOKEN.fullmatch(text) is None:
        raise bad_value("is no token", "it must be ASCII without spaces, and without the word Bearer before it")
    return text


def _check_token_url(url: str) -> str:
    return check_http_url(url, "write the whole URL of the token endpoint, such as https://host/.../oauth2/v1/token")


def _check_proxy_url(url: str) -> str:
    right = "write the proxy's address, such as http://proxy:3128"
    url = check_http_url(url, right).rstrip("/")
    if "/" in url.partition("://")[2] or "?" in url:
        raise bad_value("must not hold a path", right)
    return url


Text = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Username = Annotated[str, Field(min_length=1), AfterValidator(_check_username)]
Token = Annotated[str, Field(min_length=1), AfterValidator(check_token)]
_URL = WithJsonSchema({"type": "string", "pattern": URL_PATTERN})
TokenUrl = Annotated[str, AfterValidator(_check_token_url), _URL]
ProxyUrl = Annotated[str, AfterValidator(_check_proxy_url), _URL]


class Basic(Section):
    """A user name and a password with each request."""

    username: Username = Field(default="", description="User name for basic authentication.")
    password: Text = Field(default="", repr=False, description="Its password.")
    password_file: Text = Field(default="", description="File with the password, instead.")


class Bearer(Section):
    """A token with each request."""

    token: Token = Field(default="", repr=False, description="Token for bearer authentication.")
    token_file: Text = Field(default="", description="File with the token, instead; read again when it changes.")


class OAuth2(Section):
    """Tokens of OAuth 2.0's client credentials grant."""

    token_url: TokenUrl = Field(default="", description="Where tokens are had: the whole URL.")
    client_id: Text = Field(default="", description="Who asks for tokens.")
    client_secret: Text = Field(default="", repr=False, description="Its secret.")
    client_secret_file: Text = Field(default="", description="File with the secret, instead.")
    scope: Text = Field(default="", description="Scope to ask for; Pega wants none.")


class Auth(Section):
    """How the worker proves who it is; one kind at most."""

    basic: Basic = Field(default_factory=Basic)
    bearer: Bearer = Field(default_factory=Bearer)
    oauth2: OAuth2 = Field(default_factory=OAuth2)


class Tls(Section):
    """Certificates; the files are read again when they change."""

    ca_file: Text = Field(
        default="", description="PEM file of certificate authorities to trust besides the public ones."
    )
    cert_file: Text = Field(default="", description="PEM file of the client's certificate (and chain), for mutual TLS.")
    key_file: Text = Field(default="", description="PEM file of the certificate's private key.")
    key_password: Text = Field(default="", repr=False, description="Password of the private key.")
    key_password_file: Text = Field(default="", description="File with that password, instead.")


class Proxy(Section):
    """An HTTP proxy on the way to the service. That of the environment (`HTTPS_PROXY`) is never used."""

    url: ProxyUrl = Field(default="", description="The proxy's address; the environment's (`HTTPS_PROXY`) is not used.")
    username: Username = Field(default="", description="User name at the proxy.")
    password: Text = Field(default="", repr=False, description="Password at the proxy.")
    password_file: Text = Field(default="", description="File with that password, instead.")


Http2 = Literal["auto", "never"]
