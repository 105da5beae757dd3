"""Durations as people write them, and distributions of latency drawn from them.

Invariants: pure; the random generator is an argument, so that a seed repeats a run. All times are seconds.
"""

import math
import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_FORMS = "a duration (20ms), uniform:10ms,30ms, normal:20ms,5ms or lognormal:20ms,0.5 (median, sigma)"


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``250ms``, ``5s`` or ``2m``.

    Raises:
        ValueError: it is not written so.
    """
    if (match := _DURATION.fullmatch(text.strip())) is None:
        raise ValueError(f"{text!r} is not a duration: write it as 250ms, 5s or 2m")
    return float(match[1]) * _SECONDS[match[2]]


class Latency(NamedTuple):
    """How long an answer takes: a fixed time, or a distribution of ``shape`` with parameters ``a`` and ``b``."""

    shape: str
    a: float
    b: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Latency":
        """Read ``20ms``, ``uniform:10ms,30ms``, ``normal:20ms,5ms`` or ``lognormal:20ms,0.5`` (median, sigma).

        Raises:
            ValueError: it is none of these.
        """
        shape, colon, rest = text.strip().partition(":")
        if not colon:
            return cls("fixed", parse_duration(shape))
        first, comma, second = rest.partition(",")
        if shape not in _SAMPLERS or shape == "fixed" or not comma:
            raise ValueError(f"{text!r} is not a latency: write {_FORMS}")
        if shape == "lognormal":
            return cls(shape, parse_duration(first), _sigma(second))
        low, high = parse_duration(first), parse_duration(second)
        if shape == "uniform" and high < low:
            raise ValueError(f"{text!r} ends before it begins: write the lower bound first")
        return cls(shape, low, high)

    def sample(self, rng: Random) -> float:
        """One latency in seconds, never negative."""
        return max(0.0, _SAMPLERS[self.shape](rng, self.a, self.b))


def _sigma(text: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = -1.0
    if not 0 <= sigma < math.inf:
        raise ValueError(f"{text!r} is not a sigma: write a number such as 0.5")
    return sigma


_SAMPLERS: dict[str, Callable[[Random, float, float], float]] = {
    "fixed": lambda _rng, a, _b: a,
    "uniform": lambda rng, a, b: a + (b - a) * rng.random(),
    "normal": lambda rng, a, b: rng.gauss(a, b),
    "lognormal": lambda rng, a, b: a * math.exp(rng.gauss(0.0, b)),  # a is the median, unlike lognormvariate's mu
}
