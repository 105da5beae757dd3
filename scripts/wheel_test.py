"""Build the wheel and try it as a user gets it: its content, and the console script in a clean environment.

python scripts/wheel_test.py UV      UV is the path of uv
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(uv: str) -> int:
    """Build, look inside, install and run."""
    with tempfile.TemporaryDirectory(prefix="enricher-wheel-") as folder:
        built = Path(folder)
        subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", str(built), str(ROOT)], check=True)
        (wheel,) = built.glob("*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        wanted = {f"enricher/{file.relative_to(ROOT)}" for file in (ROOT / "avro").rglob("*.*")} | {"enricher/py.typed"}
        if len(wanted) < 3 or wanted - names:  # noqa: PLR2004  two schemas and the marker at least
            print(f"wheel-test: FAILED: {wheel.name} lacks {sorted(wanted - names) or 'the schemas'}", file=sys.stderr)
            return 1
        requirements = built / "requirements.txt"
        export = [uv, "export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "-o", str(requirements)]
        subprocess.run(export, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        environment = built / "environment"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(environment)]
        subprocess.run([*install, "-r", str(requirements), str(wheel)], cwd=built, check=True)
        bin_folder = environment / "bin"
        for command in (["enricher", "--version"], ["enricher", "--help"], ["python", "-c", "import enricher.schemas"]):
            # Away from the project's folder: what is not in the wheel must not be found there.
            command[0] = str(bin_folder / command[0])
            subprocess.run(command, cwd=built, check=True, stdout=subprocess.DEVNULL)
    print(f"wheel-test: passed ({wheel.name}, {len(names)} files)")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
