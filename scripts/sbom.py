"""Write ``dist/sbom.cdx.json`` (CycloneDX): what the image's Python environment is made of: ``make sbom``.

The environment is installed as the image's is, so that licenses and who needs whom are known, and the result is held
against the lock file. The same lock file gives the same bytes on the same platform.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from enricher import __version__
from scripts.bootstrap import ensure_uv
from scripts.locked import CACHE, IMAGE, ROOT, export, name_of

TOOL = "cyclonedx-bom==7.5.0"
BILL = ROOT / "dist" / "sbom.cdx.json"


def main() -> int:
    """Make it, check it, tell what is in it."""
    wanted = export()
    BILL.parent.mkdir(exist_ok=True)
    _make(BILL)
    bill = json.loads(BILL.read_text("utf-8"))
    bill["metadata"]["component"]["version"] = __version__
    if wrong := differences(bill, wanted):
        print(f"sbom: FAILED: not what uv.lock says: {', '.join(wrong)}", file=sys.stderr)
        return 1
    BILL.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", "utf-8")
    nameless = sorted(part["name"] for part in bill["components"] if not part.get("licenses"))
    print(f"sbom: {BILL.relative_to(ROOT)}: enricher {__version__} and {len(wanted)} packages, as uv.lock has them")
    print(f"sbom: their metadata tell no license of {', '.join(nameless) or 'none'}")
    return 0


def differences(bill: dict[str, Any], wanted: dict[str, str]) -> list[str]:
    """What is in one of a bill and a lock file and not in the other, as name and version."""
    found = {name_of(part["name"]): part["version"] for part in bill["components"]}
    return [f"{name} {version}" for name, version in sorted(found.items() ^ wanted.items())]


def _make(path: Path) -> None:
    uv, environment = ensure_uv(), CACHE / "image"
    settings = os.environ | {"UV_PROJECT_ENVIRONMENT": str(environment)}
    sync = [uv, "sync", *IMAGE, "--quiet", "--no-editable", "--python", sys.executable]
    subprocess.run(sync, cwd=ROOT, env=settings, check=True)
    run = [uv, "tool", "run", "--quiet", "--from", TOOL, "cyclonedx-py", "environment", "--output-reproducible"]
    about = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application", "-o", str(path)]
    subprocess.run([*run, *about, str(environment)], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
