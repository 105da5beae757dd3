"""Write the chart's generated files: the JSON Schema of its values, and the Grafana dashboard.

Run from the project's folder as ``python -m scripts.chart_files`` (``make chart-files``); with ``--check`` nothing is
written, and what is not current is told. The schema is ``helm/values.base.yaml`` with the worker's own schema, as
``enricher config --schema`` prints it, under ``config``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from enricher.config.document import json_schema
from scripts.dashboard import dashboard

HELM = Path(__file__).parent.parent / "helm"
SCHEMA = HELM / "enricher" / "values.schema.json"
DASHBOARD = HELM / "enricher" / "dashboards" / "enricher.json"


def values_schema() -> dict[str, Any]:
    """The schema of the chart's values.

    The worker's definitions keep their names, so that its references hold; those of the chart begin with ``_``.
    """
    schema: dict[str, Any] = yaml.safe_load((HELM / "values.base.yaml").read_text("utf-8"))
    worker = json_schema()
    definitions = worker.pop("$defs")
    del worker["$schema"]
    schema["$defs"] = {**schema["$defs"], "_config": worker, **definitions}
    return schema


def files() -> dict[Path, str]:
    """The generated files and what they should hold."""
    return {
        path: json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
        for path, tree in ((SCHEMA, values_schema()), (DASHBOARD, dashboard()))
    }


def stale() -> list[Path]:
    """Those that are not current."""
    return [path for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write them, or tell what is to be written."""
    if arguments == ["--check"]:
        found = stale()
        for path in found:
            print(f"{path} is not current: make chart-files", file=sys.stderr)
        return 1 if found else 0
    for path, text in files().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
