"""Ask for known vulnerabilities of what the image is made of: ``make audit``.

Needs the network: AUDIT_SERVICE is ``pypi`` (the default) or ``osv``. Exits 0 only if every package was asked about
and none is vulnerable, 1 if one is, and 2 if the service could not tell of each: pip-audit by itself counts a package
that it learned nothing of as one without vulnerabilities.
"""

import json
import os
import subprocess
import sys
from typing import Any

from scripts.bootstrap import ensure_uv
from scripts.locked import REQUIREMENTS, ROOT, export

TOOL = "pip-audit==2.10.1"
DONE, VULNERABLE, NOT_ASKED = 0, 1, 2


def main() -> int:
    """Ask, and tell."""
    wanted = export()
    service = os.environ.get("AUDIT_SERVICE") or "pypi"
    command = [ensure_uv(), "tool", "run", "--quiet", "--from", TOOL, "pip-audit", "--progress-spinner", "off"]
    options = ["--require-hashes", "--disable-pip", "--vulnerability-service", service, "--format", "json"]
    done = subprocess.run(
        [*command, *options, "-r", str(REQUIREMENTS)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    code, lines = verdict(done.stdout, done.stderr, set(wanted))
    print(*(f"audit: {line}" for line in lines), sep="\n", file=sys.stderr if code else sys.stdout)
    return code


def verdict(out: str, err: str, wanted: set[str]) -> tuple[int, list[str]]:
    """The exit code, and what to tell, of what pip-audit has written."""
    try:
        told: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = next((line for line in reversed(err.splitlines()) if line.strip()), "pip-audit said nothing")
        return NOT_ASKED, [f"NOT DONE: the service of vulnerabilities was not reached: {reason[:300]}"]
    asked = {package["name"] for package in told if "vulns" in package}
    silent = sorted(wanted - asked)
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in told
        for found in package.get("vulns", ())
    ]
    code = VULNERABLE if lines else NOT_ASKED if silent else DONE
    if silent:
        hint = "try again where the network reaches the service, or another AUDIT_SERVICE"
        names = ", ".join(silent[:3]) + (", ..." if len(silent) > 3 else "")  # noqa: PLR2004  a few as an example
        lines.append(
            f"NOT DONE for {len(silent)} of {len(wanted)} packages ({names}), of which it knows nothing: {hint}"
        )
    return code, lines or [f"no known vulnerability in {len(wanted)} packages"]


if __name__ == "__main__":
    sys.exit(main())
