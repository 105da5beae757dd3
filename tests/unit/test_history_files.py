"""Secrets and certificates in files: what cannot be used, and what happens when they change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from enricher.history.files import LOOK_INTERVAL, MAX_FILE, SecretFile, UnusableFile, Watch
from enricher.history.tls import TlsFiles
from tests.contract.certificates import Authority


class Clock:
    """Time that stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_a_secret_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    """Not more often than now and then; and what cannot be read is as if nothing had happened."""
    clock, file = Clock(), tmp_path / "s"
    file.write_bytes("pä ss\r\n".encode())
    secret = SecretFile("x_file", str(file), clock=clock)
    assert secret.value() == "pä ss"
    file.write_text("second")
    assert secret.value() == "pä ss"
    clock.now = LOOK_INTERVAL
    assert secret.value() == "second"
    file.unlink()
    clock.now += LOOK_INTERVAL
    assert secret.value() == "second"
    file.write_text("third")
    assert secret.value() == "second"
    assert secret.value(now=True) == "third"


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes changes the files of a Secret."""
    (tmp_path / "a").write_text("same size")
    (tmp_path / "b").write_text("same SIZE")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a")
    watch = Watch([str(link)], Clock())
    assert not watch.changed(now=True)
    (tmp_path / "new").symlink_to(tmp_path / "b")
    (tmp_path / "new").replace(link)
    assert watch.changed(now=True)
    assert not watch.changed(now=True)


def _token(text: str) -> None:
    if " " in text:
        raise ValueError(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"SECRET x", "holds no such secret"),
        (b"SECRET\xff", "holds no such secret"),
        (b"S" * (MAX_FILE + 1), "is larger than 1 MiB"),
    ],
)
def test_a_file_that_holds_no_secret_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    """With the setting and the reason, and without a byte of it."""
    file = tmp_path / "s"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnusableFile, match=words) as caught:
        SecretFile("x_file", str(file), check=_token)
    assert (caught.value.setting, caught.value.path) == ("x_file", str(file))
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A mistake that mounts invite."""
    with pytest.raises(UnusableFile, match="cannot be read: is a directory"):
        SecretFile("x_file", str(tmp_path))


def _swap_key(files: TlsFiles, folder: Path) -> TlsFiles:
    other = folder / "other.key"
    Path(files.key_file).rename(other)
    Authority(folder).client("another")
    return files._replace(key_file=str(other))


def _encrypt(files: TlsFiles, folder: Path) -> TlsFiles:
    Authority(folder).client("worker", "pass")
    return files


@pytest.mark.parametrize(
    ("damage", "setting", "words"),
    [
        (lambda files, _: files._replace(ca_file="/nowhere"), "ca_file", "no such file"),
        (lambda files, _: files._replace(ca_file=files.key_file), "ca_file", "holds no PEM certificates"),
        (lambda files, _: files._replace(cert_file=files.key_file), "cert_file", "holds no PEM certificate"),
        (lambda files, _: files._replace(key_file=files.cert_file), "key_file", "holds no PEM private key"),
        (_swap_key, "key_file", "is not the key of"),
        (_encrypt, "key_file", "is encrypted"),
    ],
)
def test_certificates_that_do_not_fit_are_named(
    tmp_path: Path, damage: Callable[[TlsFiles, Path], TlsFiles], setting: str, words: str
) -> None:
    """Each mistake with the setting that has to change; nobody is asked for a password."""
    authority = Authority(tmp_path)
    whole = TlsFiles(str(authority.file), *authority.client("worker"))
    assert b"PRIVATE KEY" in (whole.read().identity or b"")
    assert "PRIVATE" not in repr(whole.read())
    with pytest.raises(UnusableFile, match=words) as caught:
        damage(whole, tmp_path).read()
    assert caught.value.setting == f"service.tls.{setting}"
