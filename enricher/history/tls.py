"""Certificates for both engines, read from files and checked as a whole.

Invariants: what is read fits together, or ``UnusableFile`` names the setting; OpenSSL never asks a terminal for a
password; a decrypted key is in memory only.
"""

import re
import ssl
from typing import Final, NamedTuple

import httpx

from enricher.history.files import FixedSecret, Secret, UnusableFile, read_file

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CA, _CERT, _KEY = "service.tls.ca_file", "service.tls.cert_file", "service.tls.key_file"


class TlsFiles(NamedTuple):
    """Where the certificates are; an empty path for none.

    Attributes:
        ca_file: authorities to trust besides the public ones.
        cert_file: the client's certificate.
        key_file: its private key.
        key_password: of the private key.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    key_password: Secret = FixedSecret("")

    @property
    def paths(self) -> list[str]:
        """The files that there are."""
        return [path for path in (self.ca_file, self.cert_file, self.key_file) if path]

    def read(self) -> "Tls":
        """What the files hold now.

        Raises:
            UnusableFile: one of them cannot be read or does not hold what it should, or they do not fit together.
        """
        context = httpx.create_ssl_context(trust_env=False)
        authorities: list[bytes] = []
        if self.ca_file:
            authorities = _CERTIFICATE.findall(read_file(_CA, self.ca_file))
            try:
                context.load_verify_locations(cadata=b"\n".join(authorities).decode("ascii"))
            except (ssl.SSLError, ValueError):
                raise UnusableFile(_CA, self.ca_file, "holds no PEM certificates") from None
        identity = self._identity(context) if self.cert_file else None
        return Tls(context, tuple(authorities), identity)

    def _identity(self, context: ssl.SSLContext) -> bytes:
        certificate, key = read_file(_CERT, self.cert_file), read_file(_KEY, self.key_file)
        if _CERTIFICATE.search(certificate) is None:
            raise UnusableFile(_CERT, self.cert_file, "holds no PEM certificate")
        password = self.key_password.value(now=True)
        plain = self._decrypted(key, password)
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=lambda: password)
        except (ssl.SSLError, ValueError, OSError) as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                raise UnusableFile(_KEY, self.key_file, f"is not the key of {self.cert_file}") from None
            raise UnusableFile(_CERT, self.cert_file, "holds no usable certificate for the key") from None
        return certificate.strip() + b"\n" + plain

    def _decrypted(self, key: bytes, password: str) -> bytes:
        # slow to import, and only here where a client certificate is used at all
        from cryptography.hazmat.primitives import serialization as pem  # noqa: PLC0415

        try:
            loaded = pem.load_pem_private_key(key, password.encode() or None)
        except TypeError:  # a password is missing, or there is one for a key without
            reason = "is not encrypted, and a password is given" if password else "is encrypted: give its password"
            raise UnusableFile(_KEY, self.key_file, reason) from None
        except Exception:  # noqa: BLE001  many kinds, and none that tells more
            reason = "holds no PEM private key" + (", or the password is another one" if password else "")
            raise UnusableFile(_KEY, self.key_file, reason) from None
        return loaded.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())


class Tls(NamedTuple):
    """Certificates as the engines take them.

    Attributes:
        context: for httpx.
        authorities: to trust besides the public ones, PEM.
        identity: the client's certificate and its key in the clear, PEM.
    """

    context: ssl.SSLContext
    authorities: tuple[bytes, ...] = ()
    identity: bytes | None = None

    def __repr__(self) -> str:
        return "Tls(...)"  # a key is inside
