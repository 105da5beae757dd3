"""Certificates of an authority that nobody else knows, in files."""

import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization as pem


class Authority:
    """Issues certificates, and writes them into a folder."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def server(self, *names: str, client_wanted: bool = False) -> ssl.SSLContext:
        """What a server of these names needs; 127.0.0.1 if none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
        if client_wanted:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str, password: str = "") -> tuple[str, str]:
        """Files of a client's certificate and its key; those of an earlier one are replaced."""
        issued = self._ca.issue_cert(f"{name}@example.org", common_name=name)
        certificate, key = self._folder / "client.pem", self._folder / "client.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        loaded = pem.load_pem_private_key(issued.private_key_pem.bytes(), None)
        how = pem.BestAvailableEncryption(password.encode()) if password else pem.NoEncryption()
        key.write_bytes(loaded.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, how))
        return str(certificate), str(key)
