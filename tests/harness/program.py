"""The installed console script ``enricher`` as a child process, as a person or a container starts it.

Invariants: what it writes is read all the time (it never blocks on a full pipe) and kept; a `Program` that was
started is stopped, or the test fails.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from tests.harness.waiting import wait_until

SCRIPT = Path(sys.executable).with_name("enricher")

STOP_TIMEOUT = 40.0
"""Seconds from SIGTERM to the end: more than the default of ``shutdown.deadline``."""


class Program:
    """One run of ``enricher``, started on construction.

    Args:
        arguments: of the command line, such as ``"run"``.
        environment: added to this process's environment, from which every ``ENRICHER_`` setting is taken out first.
        command: what to run in place of the installed script.
        cwd: the folder to run in.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] | None = None,
        cwd: Path | None = None,
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ENRICHER_")}
        clean |= {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        self.arguments = arguments
        self.out: list[str] = []
        self.err: list[str] = []
        self._process = subprocess.Popen(
            [*(command or (str(SCRIPT),)), *arguments],
            env=clean | dict(environment or {}),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
        self._psutil = psutil.Process(self._process.pid)
        self._cpu = 0.0
        self._readers = [self._reader(self._process.stdout, self.out), self._reader(self._process.stderr, self.err)]

    @staticmethod
    def _reader(stream: IO[str] | None, lines: list[str]) -> threading.Thread:
        assert stream is not None

        def read() -> None:
            with stream:
                lines.extend(line.rstrip("\n") for line in stream)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def events(self) -> list[dict[str, Any]]:
        """Its log so far: the lines of standard error that are JSON objects."""
        found = []
        for line in list(self.err):
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except json.JSONDecodeError:
                    continue
        return found

    def wait_for_log(self, wanted: str | Callable[[str], bool], timeout: float = 30.0, *, start: int = 0) -> str:
        """The first line of standard error from line ``start`` on that contains, or fulfils, what is wanted.

        Raises:
            AssertionError: it did not come in time, or the program ended without it; with the end of its output.
        """
        fits = wanted if callable(wanted) else lambda line: wanted in line

        def look() -> str | None:
            ended = not self.running
            if ended:
                self._join()
            line = next((line for line in list(self.err)[start:] if fits(line)), None)
            assert line is not None or not ended, f"{self} ended without the log line {wanted!r}:\n{self.tail()}"
            return line

        line = wait_until(look, f"the log line {wanted!r} of {self}", timeout)
        assert line is not None
        return line

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit code, once it has ended by itself.

        Raises:
            AssertionError: it did not end in time.
        """
        self.cpu_seconds()
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} did not end within {timeout:g} s:\n{self.tail()}") from None
        self._join()
        return code

    def terminate(self, timeout: float = STOP_TIMEOUT) -> int:
        """Send SIGTERM and return the exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill9(self) -> None:
        """End it as a crash does, and return when it is gone."""
        self.send(signal.SIGKILL)
        self.wait(10)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self.cpu_seconds()
        self._process.send_signal(number)

    def cpu_seconds(self) -> float:
        """User and system time so far; once it has ended, as it was last asked (`wait` and the signals ask too)."""
        try:
            times = self._psutil.cpu_times()
        except psutil.Error:
            return self._cpu
        self._cpu = max(self._cpu, times.user + times.system)
        return self._cpu

    def rss(self) -> int:
        """Resident bytes now."""
        return int(self._psutil.memory_info().rss)

    def tail(self, lines: int = 40) -> str:
        """The end of what it wrote."""
        return "\n".join(["--- stdout", *self.out[-lines:], "--- stderr", *self.err[-lines:]])

    def stop(self) -> None:
        """Make sure that it is gone.

        Raises:
            AssertionError: it did not end on SIGTERM and had to be killed.
        """
        if not self.running:
            self._join()
            return
        self._process.send_signal(signal.SIGCONT)  # one that a test has frozen could not end
        try:
            self.terminate()
        except AssertionError:
            self._process.kill()
            self._process.wait(10)
            raise

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(5)

    def __repr__(self) -> str:
        return f"enricher {' '.join(self.arguments)} (pid {self.pid}, exit code {self.returncode})"
