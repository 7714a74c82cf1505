"""Devices of this machine by name; TensorFlow is imported inside functions only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf._values import KINDS, absence, expand
from pytest_dlperf.errors import UsageError
from pytest_dlperf.report.hints import ASK_FOR_DEVICES

if TYPE_CHECKING:
    from collections.abc import Iterable


def devices_here() -> tuple[str, ...]:
    """Each CPU and visible GPU of this process, such as `cpu:0`; initialises none."""
    import tensorflow as tf

    names = []
    for kind in KINDS:
        devices = tf.config.get_visible_devices(kind.upper())
        count = sum(
            len(tf.config.get_logical_device_configuration(device) or (None,)) for device in devices
        )
        names += [f"{kind}:{number}" for number in range(count)]
    return tuple(names)


def resolve(
    names: Iterable[str], what: str = "Serving(devices)", present: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Expand names such as `gpu` and `all`, given in the setting `what`, to single devices.

    Args:
        names: as they were given.
        what: the setting, in words.
        present: the devices that there are; empty for those of TensorFlow.

    Raises:
        UsageError: naming a device that does not exist.
    """
    present = present or devices_here()
    expanded = expand(names, present)
    for name in expanded:
        if name not in present:
            raise UsageError(
                f"{what}: {absence(name, present)}",
                f"to skip a test where a device is absent, {ASK_FOR_DEVICES}",
            )
    return expanded


def split_cpu(parts: int) -> None:
    """Split the CPU into logical devices, which share its threads.

    Raises:
        UsageError: if TensorFlow has started with another number of them.
    """
    import tensorflow as tf

    (cpu,) = tf.config.get_visible_devices("CPU")
    present = tf.config.get_logical_device_configuration(cpu) or (None,)
    if len(present) == parts:
        return
    try:
        # Possible only until the first tensor: TensorFlow's runtime then fixes its devices.
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(parts)]
        )
    except RuntimeError as error:
        raise UsageError(
            f"the CPU cannot be split into {parts} devices: TensorFlow has been started "
            f"with {len(present)} already ({error})",
            "have nothing make tensors or models before the session starts: a plugin, or a "
            "conftest.py at its top level",
        ) from None
