"""The C library is told to give memory back, and is left alone where it is another one."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from enricher import allocator


class Library:
    """A C library that writes down what it is told."""

    def __init__(self) -> None:
        self.told: dict[int, int] = {}

    def gnu_get_libc_version(self) -> None:
        """There is one."""

    def mallopt(self, parameter: int, value: int) -> int:
        """Write it down."""
        self.told[parameter] = value
        return 1


def test_glibc_is_told_to_hold_on_to_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few arenas, and a threshold that does not grow; what the environment says is not overruled."""
    library = Library()

    def loaded(_name: None) -> Library:
        return library

    monkeypatch.setattr(ctypes, "CDLL", loaded)
    for variable in ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(variable, raising=False)
    assert allocator.tame()
    assert library.told == {-8: 2, -3: 256 << 10, -1: 1 << 20}
    library.told.clear()
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert allocator.tame()
    assert set(library.told) == {-3, -1}


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a glibc nothing is called, and nothing fails."""

    def foreign(_name: None) -> Any:
        return SimpleNamespace(mallopt=pytest.fail)

    def none(_name: None) -> Any:
        raise OSError("there is none")

    for library in (foreign, none):
        monkeypatch.setattr(ctypes, "CDLL", library)
        assert not allocator.tame()
