"""Makes the C library give memory back that is free, so that what the process holds follows what the worker holds.

By its defaults glibc keeps an arena for each thread (librdkafka has a dozen), and lets the size from which on a block
is memory of its own grow to 32 MiB with the blocks that were freed: large outputs and histories then leave heaps
behind that are full of holes and stay resident. Other C libraries are left alone.
"""

import ctypes
import os

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_SETTINGS: tuple[tuple[str, int, int], ...] = (
    ("MALLOC_ARENA_MAX", _M_ARENA_MAX, 2),
    ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, 256 << 10),
    ("MALLOC_TRIM_THRESHOLD_", _M_TRIM_THRESHOLD, 1 << 20),
)
"""The environment's variable, glibc's number of the parameter, and the value."""


def tame() -> bool:
    """Tell glibc to hold on to less; what the environment says itself stays. Returns whether there was a glibc."""
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
        library.gnu_get_libc_version  # noqa: B018  mallopt of another library may mean other things by these numbers
    except (OSError, AttributeError, TypeError):
        return False
    for variable, parameter, value in _SETTINGS:
        if variable not in os.environ:
            mallopt(parameter, value)
    return True
