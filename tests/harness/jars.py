"""Apache Kafka's jars, and others: fetched once from a Maven repository, checked, and cached for the user.

Invariants: a file appears in the cache only when its checksum is right (several processes may fetch at once); a
cached file is checked again on each use.
"""

import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from tests.harness.broker import KAFKA_VERSION, BrokerFailed

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"

_LIST = Path(__file__).with_name("jars.txt")
_ATTEMPTS = 4


class Jar(NamedTuple):
    """One pinned file of the repository."""

    sha256: str
    size: int
    group: str
    artifact: str
    version: str
    ending: str = ".jar"

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.artifact}-{self.version}{self.ending}"

    @property
    def path(self) -> str:
        """Where it stands in a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.name}"


def pinned(listed: Path = _LIST) -> Iterator[Jar]:
    """The jars that a list names; by default those of one Kafka server, as ``jars.txt`` lists them."""
    for line in listed.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            sha256, size, coordinates = line.split()
            yield Jar(sha256, int(size), *coordinates.split(":"))


def cache_folder(name: str = f"kafka-{KAFKA_VERSION}") -> Path:
    """Where jars are kept: below ``XDG_CACHE_HOME``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "enricher" / name


def fetch(folder: Path | None = None, wanted: Iterable[Jar] | None = None) -> list[Path]:
    """The paths of all jars, after fetching those that the cache lacks.

    Args:
        folder: the cache; Kafka's own by default.
        wanted: the jars; Kafka's by default.

    The repository is Maven Central or, where the environment names one, ``MAVEN_REPOSITORY``.

    Raises:
        BrokerFailed: a file could not be fetched, or is not the one that was pinned.
    """
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    repository = os.environ.get("MAVEN_REPOSITORY", MAVEN_CENTRAL).rstrip("/")
    if not repository.startswith(("https://", "http://", "file://")):
        raise BrokerFailed("MAVEN_REPOSITORY must begin with https://, http:// or file://")
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda jar: _ensure(jar, folder / jar.name, repository), wanted or pinned()))


def _ensure(jar: Jar, target: Path, repository: str) -> Path:
    if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == jar.sha256:
        return target
    content = _download(f"{repository}/{jar.path}", jar)
    found = hashlib.sha256(content).hexdigest()
    if found != jar.sha256:
        raise BrokerFailed(f"{jar.path} has the SHA-256 {found}; {jar.sha256} is pinned in {_LIST.name}")
    with NamedTemporaryFile(dir=target.parent, prefix=f".{jar.name}.", delete=False) as partial:
        partial.write(content)
    Path(partial.name).replace(target)
    return target


def _download(url: str, jar: Jar) -> bytes:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310  the scheme is checked in fetch
                content: bytes = response.read(jar.size + 1)
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == _ATTEMPTS:
                raise BrokerFailed(f"{jar.path} could not be fetched: HTTP {error.code}") from error
        except OSError as error:
            if attempt == _ATTEMPTS or url.startswith("file:"):
                raise BrokerFailed(f"{jar.path} could not be fetched: {error}") from error
        else:
            return content
        time.sleep(0.5 * 2**attempt)  # a repository that is busy wants a pause, and there is no event to wait for
    raise AssertionError("unreachable: the last attempt returned or raised")
