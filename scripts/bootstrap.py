"""Set the project's environment up from nothing but Python 3.11: bring uv in, and let it install what uv.lock says.

    python3 scripts/bootstrap.py uv              print the path of uv, after bringing it in where it is missing
    python3 scripts/bootstrap.py sync [OPTION..] uv sync --locked, with further options of uv sync

uv is, in this order: the one on PATH; one that an earlier run brought in; installed by pip into a folder of the
project; or, on a machine whose Python has neither venv nor pip (Debian without python3-venv and python3-pip), its
wheel fetched from the package index and checked. The index is ``UV_DEFAULT_INDEX``, ``UV_INDEX_URL``,
``PIP_INDEX_URL`` or PyPI. Only the standard library is used, and nothing outside of the project's folder is written
(uv keeps its cache where it always does).
"""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".cache" / "uv"
OWN_UV = TOOLS / "bin" / "uv"
UV_VERSION = "0.13.9"
OLDEST_PYTHON = (3, 11)


class CannotBootstrap(Exception):  # noqa: N818  says what happened
    """One way to bring uv in did not work."""


def say(line: str) -> None:
    """Tell on standard error what is going on: standard output is for the answer."""
    print(f"bootstrap: {line}", file=sys.stderr, flush=True)


def works(uv: str | Path) -> bool:
    """Whether this is a uv that runs (a version manager's shim may be there without one behind it)."""
    try:
        return subprocess.run([str(uv), "--version"], capture_output=True, check=False, timeout=60).returncode == 0
    except OSError:
        return False


def ensure_uv() -> str:
    """The path of a uv that works."""
    on_path = shutil.which("uv")
    if on_path and works(on_path):
        return on_path
    if works(OWN_UV):
        return str(OWN_UV)
    failures = []
    ways: list[tuple[str, Callable[[], None]]] = [
        ("python3 -m venv and pip", by_venv),
        ("pip", by_pip),
        ("its wheel", by_wheel),
    ]
    for name, way in ways:
        shutil.rmtree(TOOLS, ignore_errors=True)
        try:
            way()
        except (CannotBootstrap, OSError) as error:
            failures.append(f"  by {name}: {error}")
            continue
        if works(OWN_UV):
            say(f"uv {UV_VERSION} brought in by {name}")
            return str(OWN_UV)
        failures.append(f"  by {name}: what was installed does not run")
    raise SystemExit(
        "bootstrap: uv could not be brought in:\n"
        + "\n".join(failures)
        + "\nInstall it (https://docs.astral.sh/uv/), or Debian's python3-venv and python3-pip, and make sure that the"
        " package index can be reached (PIP_INDEX_URL names another one, SSL_CERT_FILE its certificates)."
    )


def run(*command: str) -> None:
    """Run a command; its last line of output is the failure's message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no output"]
        raise CannotBootstrap(lines[-1])


def by_venv() -> None:
    """Install uv by the pip of a virtual environment of its own."""
    run(sys.executable, "-m", "venv", str(TOOLS))
    run(str(TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet", f"uv=={UV_VERSION}")


def by_pip() -> None:
    """Install uv into a folder by the machine's pip, where venv is missing."""
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(TOOLS), f"uv=={UV_VERSION}")


def by_wheel() -> None:
    """Fetch the wheel and take the program out, where there is no pip either."""
    name, content = fetch_wheel()
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        program = next((entry for entry in wheel.namelist() if entry.endswith(".data/scripts/uv")), None)
        if program is None:
            raise CannotBootstrap(f"{name} holds no uv")
        OWN_UV.parent.mkdir(parents=True, exist_ok=True)
        OWN_UV.write_bytes(wheel.read(program))
    OWN_UV.chmod(0o755)


def fetch_wheel() -> tuple[str, bytes]:
    """The name and content of the wheel for this machine."""
    listing = index_url().rstrip("/") + "/uv/"
    try:
        links = Links(download(listing).decode())
    except OSError as error:
        raise CannotBootstrap(f"{shown(listing)} cannot be read: {error}") from error
    wanted = platform_tag()
    for href in links.found:
        address, fragment = urldefrag(urljoin(listing, href))
        name = address.rsplit("/", 1)[-1]
        if name.startswith(f"uv-{UV_VERSION}-") and name.endswith(".whl") and wanted(name):
            content = download(address)
            if fragment != f"sha256={hashlib.sha256(content).hexdigest()}":
                raise CannotBootstrap(f"{name} is not the file that the index names: {fragment or 'no checksum'}")
            return name, content
    raise CannotBootstrap(f"{shown(listing)} has no wheel of uv {UV_VERSION} for {sysconfig.get_platform()}")


class Links(HTMLParser):
    """The links of an index's page (PEP 503)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep where a link leads."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def platform_tag() -> Callable[[str], bool]:
    """Whether a wheel's name fits this machine."""
    machine = platform.machine().lower()
    if sys.platform == "darwin":
        return lambda name: "macosx" in name and machine in name
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return lambda name: any(libc in tag and tag.endswith(machine) for tag in platform_tags(name))


def platform_tags(wheel: str) -> Iterator[str]:
    """The platform tags in a wheel's name."""
    yield from wheel.removesuffix(".whl").rsplit("-", 1)[-1].split(".")


def index_url() -> str:
    """The package index to use."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if url := os.environ.get(variable):
            return url
    return "https://pypi.org/simple"


def shown(url: str) -> str:
    """A URL without the credentials that it may hold."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"


def download(url: str) -> bytes:
    """What a URL holds."""
    if not url.startswith(("https://", "http://")):
        raise CannotBootstrap(f"{shown(url)} is no web address")
    with urllib.request.urlopen(url, timeout=120) as response:  # noqa: S310  the scheme is checked above
        content: bytes = response.read()
    return content


def sync(options: list[str]) -> int:
    """Install what uv.lock says into the project's environment; return uv's exit code.

    uv brings certificates of its own. Where they do not do (an index behind a company's proxy), the machine's are
    tried.
    """
    command = [ensure_uv(), "sync", "--locked", *options]
    code, said = call(command, {})
    if code != 0 and ("certificate" in said or "UnknownIssuer" in said):
        say("trying again with the certificates of this machine")
        code, _ = call(command, {"UV_SYSTEM_CERTS": "true"})
    return code


def call(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command and show what it says while it does; return its exit code and what it said."""
    said = []
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None  # noqa: S101  it is piped: for the type checker
        for line in process.stderr:
            sys.stderr.write(line)
            said.append(line)
    return process.returncode, "".join(said)


def main(arguments: list[str]) -> int:
    """Run one of the two commands."""
    if sys.version_info < OLDEST_PYTHON:
        raise SystemExit(f"bootstrap: Python 3.11 or newer is needed; this is {platform.python_version()}")
    match arguments:
        case ["uv"]:
            print(ensure_uv())
            return 0
        case ["sync", *options]:
            return sync(options)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
