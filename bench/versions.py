"""Another version of the worker, checked out and installed apart, to be measured beside this one."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".cache" / "bench"
BASE = "@base"
"""What the names of its programs end in."""


def installed(revision: str) -> Path:
    """The console script of a git revision, in a worktree with an environment of its own; kept for the next time."""
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    tree = FOLDER / commit[:12]
    if not tree.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(tree), commit)
    subprocess.run([sys.executable, "scripts/bootstrap.py", "sync", "--no-dev"], cwd=tree, check=True)
    return tree / ".venv" / "bin" / "enricher"


def _git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
