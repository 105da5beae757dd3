"""What the image is made of, as uv.lock has it: asked by the bill of materials, the audit and the image's own test."""

import re
import subprocess
from pathlib import Path

from packaging.requirements import Requirement

from scripts.bootstrap import ensure_uv

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
REQUIREMENTS = CACHE / "requirements.txt"

IMAGE = ("--locked", "--no-dev", "--extra", "tracing")
"""Which part of the lock file the image gets; the Dockerfile says the same."""

_PINNED = re.compile(r"^([A-Za-z0-9][^#\\\n]*==[^#\\\n]*)", re.MULTILINE)


def name_of(distribution: str) -> str:
    """A distribution's name in the one way that all ways to write it have in common."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def pinned(requirements: str) -> dict[str, str]:
    """Names and versions in the text of a requirements file, of what is for a machine such as this one."""
    lines = [Requirement(line) for line in _PINNED.findall(requirements)]
    return {
        name_of(line.name): str(line.specifier).removeprefix("==")
        for line in lines
        if line.marker is None or line.marker.evaluate()
    }


def export() -> dict[str, str]:
    """Write what the image gets to `REQUIREMENTS`, with its hashes; returns names and versions."""
    CACHE.mkdir(exist_ok=True)
    command = [ensure_uv(), "export", *IMAGE, "--quiet", "--no-emit-project", "--format", "requirements-txt"]
    subprocess.run([*command, "-o", str(REQUIREMENTS)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return pinned(REQUIREMENTS.read_text("utf-8"))
