"""The chart's security contexts as options of ``docker run``, so that the image is tried under what it will run under.

Invariant: a field of the chart's contexts that this does not know is an error, not left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

VALUES = Path(__file__).resolve().parent.parent / "helm" / "enricher" / "values.yaml"

_BYTES = {"Mi": "m", "Gi": "g"}

_ENGINES_OWN = {
    "seccompProfile": {"type": "RuntimeDefault"},  # what an engine does anyway
    "runAsNonRoot": True,  # a check of Kubernetes' own; the user is a number that is not 0
    "privileged": False,
}
"""What needs no option, with the only value that is known here."""


class NotKnown(Exception):  # noqa: N818  says what happened
    """The chart confines the worker in a way that is not tried."""


def options(values: Mapping[str, Any]) -> list[str]:
    """The options of ``docker run``.

    Raises:
        NotKnown: a field of a security context is not known, or has a value that is not.
    """
    pod, container = dict(values["podSecurityContext"]), dict(values["securityContext"])
    user, group = pod.pop("runAsUser"), pod.pop("runAsGroup")
    pod.pop("fsGroup")  # of volumes; the folder below is the group's, too
    found = [f"--user={user}:{group}"]
    if container.pop("readOnlyRootFilesystem"):
        found.append("--read-only")
    if container.pop("allowPrivilegeEscalation") is False:
        found.append("--security-opt=no-new-privileges")
    found += [f"--cap-drop={name}" for name in container.pop("capabilities")["drop"]]
    limits = values["resources"]["limits"]
    found += [f"--memory={_size(limits['memory'])}", f"--cpus={limits['cpu']}"]
    found.append(f"--tmpfs=/tmp:size={_size(values['tmpSize'])},uid={user},gid={group},mode=2770")
    left = {**pod, **container}
    if wrong := {name: value for name, value in left.items() if _ENGINES_OWN.get(name) != value}:
        raise NotKnown(f"of the chart's security contexts these are not tried: {wrong}")
    return found


def _size(quantity: str) -> str:
    number, unit = quantity[:-2], quantity[-2:]
    if unit not in _BYTES:
        raise NotKnown(f"a size in {unit}")
    return number + _BYTES[unit]


def of_the_chart() -> list[str]:
    """The options for what the chart's values are by default."""
    return options(yaml.safe_load(VALUES.read_text("utf-8")))
