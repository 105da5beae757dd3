"""Bringing uv in on a machine whose Python has neither venv nor pip."""

import hashlib
import io
import platform
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from scripts import bootstrap

NAME = f"uv-{bootstrap.UV_VERSION}-py3-none-manylinux_2_17_{platform.machine()}.manylinux2014_{platform.machine()}.whl"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of uv in a package index that is served over HTTP."""
    folder = tmp_path / "simple" / "uv"
    folder.mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setenv("UV_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    monkeypatch.setattr(bootstrap, "OWN_UV", tmp_path / "tools" / "bin" / "uv")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr("sys.platform", "linux")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def _wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr(f"uv-{bootstrap.UV_VERSION}.data/scripts/uv", "#!/bin/sh\nexit 0\n")
        wheel.writestr("uv/__init__.py", "")
    return buffer.getvalue()


def _serve(index: Path, name: str, content: bytes, checksum: str | None = None) -> None:
    checksum = checksum or hashlib.sha256(content).hexdigest()
    (index / name).write_bytes(content)
    other = name.replace(platform.machine(), "sparc").replace(bootstrap.UV_VERSION, "0.0.1")
    links = f'<a href="{other}#sha256=0">{other}</a> <a data-x href="../uv/{name}#sha256={checksum}">{name}</a>'
    (index / "index.html").write_text(f"<html><body>{links}</body></html>", encoding="ascii")


def test_the_program_is_taken_from_the_wheel_of_this_machine(index: Path) -> None:
    """Among the files of the index the right one is found, checked, and its program made to run."""
    _serve(index, NAME, _wheel())
    bootstrap.by_wheel()
    assert bootstrap.works(bootstrap.OWN_UV)


def test_a_wheel_with_another_checksum_is_refused(index: Path) -> None:
    """What is not the file that the index names is not run."""
    _serve(index, NAME, _wheel(), checksum="0" * 64)
    with pytest.raises(bootstrap.CannotBootstrap, match="is not the file that the index names"):
        bootstrap.by_wheel()
    assert not bootstrap.OWN_UV.exists()


@pytest.mark.parametrize(
    "name",
    [NAME.replace("manylinux", "musllinux"), NAME.replace(platform.machine(), "s390x"), NAME.replace("uv-", "uv-9")],
    ids=["libc", "machine", "version"],
)
def test_a_wheel_for_another_machine_is_not_taken(index: Path, name: str) -> None:
    """A wheel of another C library, processor or version does not do."""
    _serve(index, name, _wheel())
    with pytest.raises(bootstrap.CannotBootstrap, match="has no wheel"):
        bootstrap.by_wheel()


def test_credentials_of_an_index_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of a failure names the index without the user and password in its URL."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(bootstrap.CannotBootstrap) as failure:
        bootstrap.by_wheel()
    assert "secret" not in str(failure.value)
    assert "http://127.0.0.1/simple/uv/" in str(failure.value)


def test_when_nothing_works_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every way that was tried is told with its cause, and what would help."""

    def fail() -> None:
        raise bootstrap.CannotBootstrap("no such thing")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bootstrap, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(bootstrap, "OWN_UV", tmp_path / "tools" / "bin" / "uv")
    for way in ("by_venv", "by_pip", "by_wheel"):
        monkeypatch.setattr(bootstrap, way, fail)
    with pytest.raises(SystemExit) as end:
        bootstrap.ensure_uv()
    assert str(end.value).count("no such thing") == 3
    assert "python3-venv" in str(end.value)
