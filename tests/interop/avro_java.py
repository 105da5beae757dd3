"""Java programs, on the reference implementation of Avro and on Kafka's libraries; one JVM for a file of values."""

import os
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.harness import jars
from tests.harness.jvm import find_java

HERE = Path(__file__).parent
TIMEOUT = 300


class Java:
    """Compiles Java sources against the libraries of ``jars.txt``, and runs them.

    Args:
        folder: takes the classes.
    """

    def __init__(self, folder: Path) -> None:
        paths = jars.fetch(jars.cache_folder("avro-java"), jars.pinned(HERE / "jars.txt"))
        self._java = find_java().path
        self._compiler = next(path for path in paths if path.name.startswith("ecj-"))
        self._libraries = [path for path in paths if path != self._compiler]
        self._folder = folder

    def compile(self, *sources: Path) -> None:
        """Compile; warnings do not matter."""
        classpath = os.pathsep.join(map(str, self._libraries))
        _run(self._java, "-jar", self._compiler, "-17", "-nowarn", "-cp", classpath, "-d", self._folder, *sources)

    def command(self, name: str) -> tuple[str, ...]:
        """What runs a class that was compiled; arguments go behind."""
        classpath = os.pathsep.join(map(str, (self._folder, *self._libraries)))
        return (self._java, "-Xmx512m", "-cp", classpath, name)

    def run(self, name: str, *arguments: object) -> str:
        """Run a class that was compiled; returns what it printed."""
        return _run(*self.command(name), *arguments)


def _run(*arguments: object) -> str:
    command = [*map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, f"{command[:6]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


class Framed(NamedTuple):
    """A value with its framing: how many bytes stand before the Avro body."""

    framing: int
    data: bytes


class FromJava(NamedTuple):
    """What Java made of a value: its own bytes, and JSON."""

    framing: int
    data: bytes
    json: bytes


def write(path: Path, values: Iterable[Framed]) -> None:
    """Write a file for ``Interop.java``."""
    with path.open("wb") as file:
        for framing, data in values:
            file.write(struct.pack(">BI", framing, len(data)))
            file.write(data)


def read(path: Path) -> Iterator[FromJava]:
    """What ``Interop.java`` wrote."""
    with path.open("rb") as file:
        while head := file.read(5):
            framing, size = struct.unpack(">BI", head)
            data = file.read(size)
            (size,) = struct.unpack(">I", file.read(4))
            yield FromJava(framing, data, file.read(size))
