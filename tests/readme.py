"""What the documents say: their code blocks, tables and links, for the tests that hold them against the program."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str, document: Path = README) -> list[str]:
    """The fenced code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(program: str, document: Path = README) -> list[str]:
    """The lines of shell blocks that call a program."""
    lines = "".join(blocks("sh", document)).splitlines()
    return [line.removesuffix("&").strip() for line in lines if line.split()[:1] == [program]]
