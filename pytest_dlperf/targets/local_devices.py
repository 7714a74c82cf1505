"""Devices: which are here, and which of them are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf._values import absence, expand
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets import keras

if TYPE_CHECKING:
    from collections.abc import Iterable


def devices_here() -> tuple[str, ...]:
    """The devices of this process: `cpu:0`, ..., then every visible GPU; imports TensorFlow."""
    return keras.device_names()


def resolve(names: Iterable[str], what: str = "Serving(devices)") -> tuple[str, ...]:
    """The single devices that are meant; imports TensorFlow.

    Args:
        names: of `core.devices.device_names`.
        what: how they were asked for, for messages.

    Raises:
        UsageError: naming a device that is not here.
    """
    here = devices_here()
    meant = expand(names, here)
    for name in meant:
        if name not in here:
            raise UsageError(
                f"{what}: {absence(name, here)}",
                "to skip a test where a device is absent, ask for it with --dlperf-devices or "
                "the marker's devices=",
            )
    return meant
