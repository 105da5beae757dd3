"""A schema registry in this process, for tests and demos, with faults.

It has the part of Confluent's REST API that clients use to write and read Avro. Ids count from 1; the GUID of a schema
is made of its text. A subject's level of compatibility is BACKWARD unless it is set. Invariant: every answer is as
Confluent's registry gives it, with its error codes.
"""

import json
import ssl
import threading
import time
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

from enricher.avroschema import InvalidSchema, parse, unreadable

Answer = tuple[int, Any]

_LEVELS: Final = {
    "NONE": (False, False), "BACKWARD": (True, False), "FORWARD": (False, True), "FULL": (True, True),
}  # fmt: skip


class RegistryServer:
    """The registry, on a port of its own. Use it with ``with``, or call ``start`` and ``stop``; both may be repeated.

    Args:
        authorization: the header that every request must have, if any.
        tls: how to speak TLS, if at all.

    Attributes:
        failing: a status to answer everything with; None to work.
        delay: seconds before every answer.
        requests: what was asked for: method and path.
    """

    def __init__(self, authorization: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.failing: int | None = None
        self.delay = 0.0
        self.requests: list[str] = []
        self._authorization = authorization
        self._tls = tls
        self._lock = threading.Lock()
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}
        self._levels: dict[str, str] = {}
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'https' if self._tls else 'http'}://localhost:{self._port}"

    def start(self) -> None:
        """Listen; after a stop, on the same port again."""
        self._server = _Server(("localhost", self._port), _handler(self))
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="registry", daemon=True).start()

    def stop(self) -> None:
        """Be gone, with every connection; what was registered is kept."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def register(self, subject: str, schema: Any, kind: str = "AVRO", references: Any = ()) -> int:
        """Register a schema, whatever the rules say; returns its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        with self._lock:
            return self._add(subject, {"schema": text, "schemaType": kind, "references": list(references)})

    def answer(self, method: str, target: str, body: Any, authorization: str | None) -> Answer:
        """What a request gets."""
        self.requests.append(f"{method} {target}")
        time.sleep(self.delay)
        if self.failing is not None:
            return self.failing, {"error_code": self.failing * 100 + 1, "message": "it fails as it was told to"}
        if self._authorization is not None and authorization != self._authorization:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        parts = [unquote(part) for part in urlsplit(target).path.strip("/").split("/")]
        with self._lock:
            return self._route(method, parts, body)

    def _route(self, method: str, parts: list[str], body: Any) -> Answer:  # noqa: C901, PLR0911  a table of routes
        match method, *parts:
            case "GET", "subjects":
                return 200, sorted(self._subjects)
            case "GET", "schemas", "ids", number:
                return self._schema(int(number) - 1)
            case "GET", "schemas", "guids", guid:
                found = [index for index, schema in enumerate(self._schemas) if schema["guid"] == guid]
                return self._schema(found[0] if found else -1)
            case "POST", "subjects", subject, "versions":
                return self._register(subject, body)
            case "POST", "subjects", subject:
                return self._look_up(subject, body)
            case "GET", "subjects", subject, "versions":
                found = self._subjects.get(subject, [])
                return (200, list(range(1, len(found) + 1))) if found else _no_subject(subject)
            case "GET", "subjects", subject, "versions", version:
                return self._version(subject, version)
            case "POST", "compatibility", "subjects", subject, "versions", _:
                if subject not in self._subjects:
                    return _no_subject(subject)
                return 200, {"is_compatible": self._fits(subject, body["schema"])}
            case "PUT", "config", subject:
                self._levels[subject] = body["compatibility"]
                return 200, body
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _schema(self, index: int) -> Answer:
        if not 0 <= index < len(self._schemas):
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, self._schemas[index]

    def _version(self, subject: str, version: str) -> Answer:
        found = self._subjects.get(subject, [])
        if not found:
            return _no_subject(subject)
        number = len(found) if version in ("latest", "-1") else int(version)
        if not 0 < number <= len(found):
            return 404, {"error_code": 40402, "message": f"Version {version} not found."}
        schema_id = found[number - 1]
        return 200, {"subject": subject, "id": schema_id, "version": number, **self._schemas[schema_id - 1]}

    def _look_up(self, subject: str, body: Any) -> Answer:
        if subject not in self._subjects:
            return _no_subject(subject)
        for number, schema_id in enumerate(self._subjects[subject], 1):
            if _same(self._schemas[schema_id - 1]["schema"], body["schema"]):
                return self._version(subject, str(number))
        return 404, {"error_code": 40403, "message": "Schema not found"}

    def _register(self, subject: str, body: Any) -> Answer:
        try:
            if not body.get("references"):
                parse(json.loads(body["schema"]))
        except (InvalidSchema, ValueError) as error:
            return 422, {"error_code": 42201, "message": f"Invalid schema: {error}"}
        if not self._fits(subject, body["schema"]):
            return 409, {"error_code": 409, "message": "Schema being registered is incompatible with an earlier schema"}
        schema_id = self._add(subject, body)
        return 200, {"id": schema_id, "guid": self._schemas[schema_id - 1]["guid"]}

    def _fits(self, subject: str, text: str) -> bool:
        found = self._subjects.get(subject, [])
        level = self._levels.get(subject, "BACKWARD")
        backward, forward = _LEVELS[level.removesuffix("_TRANSITIVE")]
        if not found:
            return True
        new = parse(json.loads(text))
        for schema_id in found if level.endswith("_TRANSITIVE") else found[-1:]:
            old = parse(json.loads(self._schemas[schema_id - 1]["schema"]))
            if (backward and unreadable(new, old)) or (forward and unreadable(old, new)):
                return False
        return True

    def _add(self, subject: str, body: Any) -> int:
        text = body["schema"]
        for index, schema in enumerate(self._schemas):
            if _same(schema["schema"], text):
                schema_id = index + 1
                break
        else:
            guid = str(UUID(bytes=md5(text.encode(), usedforsecurity=False).digest()))
            schema = {"schema": text, "schemaType": body.get("schemaType") or "AVRO", "guid": guid}
            if body.get("references"):
                schema["references"] = body["references"]
            self._schemas.append(schema)
            schema_id = len(self._schemas)
        versions = self._subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id


def _no_subject(subject: str) -> Answer:
    return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}


def _same(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return one == other


class _Server(ThreadingHTTPServer):
    """Ends its connections when it is closed, as a registry that is gone does."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[Any] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for request in list(self._open):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or fails to shake hands, is no news."""


def _handler(registry: RegistryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = registry.answer(self.command, self.path, body, self.headers.get("Authorization"))
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815  the library's names

        def log_message(self, *arguments: object) -> None:
            """Nothing: who runs it asks for ``requests``."""

    return Handler
