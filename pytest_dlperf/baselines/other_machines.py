"""Other machines: which machine classes have a baseline of a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.baselines.files import files_of
from pytest_dlperf.results.environment import MachineClass

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST: Final = 1 << 20  # what is only looked at for a remark is not read at any length


def machines_with(folder: Path, test: str, name: str) -> list[MachineClass]:
    """The machine classes that have a baseline of a measurement, as far as files can be read.

    Args:
        folder: of all machine classes.
        test: pytest's node id.
        name: of the measurement.
    """
    machines = (_machine_of(path, name) for path in files_of(folder, test))
    return [machine for machine in machines if machine is not None]


def _machine_of(path: Path, name: str) -> MachineClass | None:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        value: Any = json.loads(path.read_bytes())
        return MachineClass.from_json(value["machine"]) if name in value["measurements"] else None
    except (OSError, RecursionError, ValueError, KeyError, TypeError):
        return None  # its own machine's runs say what is wrong with it
