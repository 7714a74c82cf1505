"""Devices of this machine by name; checks names that a user gives against them.

A file of its own, so that modules which only name devices do not load TensorFlow's part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf._values import absence, expand
from pytest_dlperf.errors import UsageError
from pytest_dlperf.report.hints import ASK_FOR_DEVICES
from pytest_dlperf.targets import keras

if TYPE_CHECKING:
    from collections.abc import Iterable


def devices_here() -> tuple[str, ...]:
    """Devices of this process, such as `cpu:0`, CPUs first; imports TensorFlow."""
    return keras.device_names()


def resolve(names: Iterable[str], what: str = "Serving(devices)") -> tuple[str, ...]:
    """Expand names such as `gpu` and `all` to single devices; imports TensorFlow.

    Args:
        names: device names, from `_values.device_names`.
        what: the setting that names them, for messages.

    Raises:
        UsageError: naming a device that does not exist.
    """
    present = devices_here()
    expanded = expand(names, present)
    for name in expanded:
        if name not in present:
            raise UsageError(
                f"{what}: {absence(name, present)}",
                f"to skip a test where a device is absent, {ASK_FOR_DEVICES}",
            )
    return expanded
