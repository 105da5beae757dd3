"""Secrets and certificates in files, which change while the worker runs: whoever deploys it rotates them.

Invariants: a file is looked at no more often than every ``LOOK_INTERVAL`` seconds, unless the service refused what it
held; what cannot be read once it was read is told in the log, and what was read before stays in use; no error holds a
file's content.
"""

import os
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

import structlog

log = structlog.get_logger(__name__)

LOOK_INTERVAL: Final = 5.0
MAX_FILE: Final = 1 << 20

Clock: TypeAlias = Callable[[], float]
"""Seconds, monotonic."""


class UnusableFile(Exception):  # noqa: N818  what the file is
    """A file that a setting names cannot be used.

    Attributes:
        setting: the setting's name.
        path: the file.
        reason: what is wrong, going on after "the file"; never its content.
    """

    def __init__(self, setting: str, path: str, reason: str) -> None:
        super().__init__(f"{setting}: {path} {reason}")
        self.setting = setting
        self.path = path
        self.reason = reason


def read_file(setting: str, path: str) -> bytes:
    """What is in the file.

    Raises:
        UnusableFile: it cannot be read, is empty or larger than anything of its kind.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  read() of a Path has no limit
            content = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or type(error).__name__).lower()
        raise UnusableFile(setting, path, f"cannot be read: {reason}") from None
    if len(content) > MAX_FILE:
        raise UnusableFile(setting, path, "is larger than 1 MiB")
    if not content.strip():
        raise UnusableFile(setting, path, "is empty")
    return content


class Watch:
    """Tells when one of some files has changed."""

    def __init__(self, paths: Iterable[str], clock: Clock = time.monotonic) -> None:
        self._paths = tuple(paths)
        self._clock = clock
        self._looked = clock()
        self._stamps = self._look()

    def changed(self, *, now: bool = False) -> bool:
        """Whether one has changed since this last said so; ``now`` looks even if it looked a moment ago."""
        time_is = self._clock()
        if not now and time_is - self._looked < LOOK_INTERVAL:
            return False
        self._looked = time_is
        stamps = self._look()
        changed = stamps != self._stamps
        self._stamps = stamps
        return changed

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  follows Kubernetes' links, as a Path would; this one is called often
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Secret(Protocol):
    """Where a secret comes from."""

    def value(self, *, now: bool = False) -> str:
        """What it is at present; ``now`` looks even if that was done a moment ago."""
        ...


class FixedSecret:
    """A secret that stands in the settings."""

    def __init__(self, value: str) -> None:
        self._value = value

    def value(self, *, now: bool = False) -> str:
        """See ``Secret``."""
        del now
        return self._value


class SecretFile:
    """A secret in a file; the line break at its end is none of it."""

    def __init__(
        self, setting: str, path: str, *, check: Callable[[str], object] | None = None, clock: Clock = time.monotonic
    ) -> None:
        """Reads the file.

        Args:
            setting: the setting that names it.
            path: the file.
            check: raises an error for what cannot be such a secret; its text is not shown.
            clock: seconds, monotonic.

        Raises:
            UnusableFile: it cannot be read, or what it holds is no such secret.
        """
        self._setting = setting
        self._path = path
        self._check = check
        self._watch = Watch([path], clock)
        self._value = self._read()

    def value(self, *, now: bool = False) -> str:
        """See ``Secret``."""
        if self._watch.changed(now=now):
            try:
                self._value = self._read()
                log.info("secret_read_again", setting=self._setting)
            except UnusableFile as error:
                log.warning("secret_not_read_again", setting=self._setting, file=self._path, reason=error.reason)
        return self._value

    def _read(self) -> str:
        content = read_file(self._setting, self._path)
        try:
            text = content.decode().rstrip("\r\n")
            if self._check is not None:
                self._check(text)
        except Exception:  # noqa: BLE001  whatever is wrong with it, its text might hold the secret
            text = ""
        if not text:
            raise UnusableFile(self._setting, self._path, "holds no such secret: it must be one line of text")
        return text
