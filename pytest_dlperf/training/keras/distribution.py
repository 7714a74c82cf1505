"""Where Keras trains: on one device, or on several that share each batch; and what that took."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_dlperf.targets.keras import device_names
from pytest_dlperf.targets.local_devices import resolve
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager


def sharing(devices: Sequence[str]) -> tuple[str, ...]:
    """The single devices that share a training; `all` leaves the CPU out where there are GPUs.

    Args:
        devices: of `core.devices.device_names`.

    Raises:
        UsageError: naming a device that is not here.
    """
    if not devices:
        return ()
    found = resolve(devices, "devices")
    gpus = tuple(name for name in found if name.startswith("gpu:"))
    return gpus if gpus and "all" in devices else found


def under(devices: Sequence[str]) -> AbstractContextManager[object]:
    """Where models that are built inside are trained, if they are fitted inside too.

    On several devices each has a copy of the weights and computes on its part of each batch; the
    gradients of all of them are added up (`tf.distribute.MirroredStrategy`).

    Args:
        devices: such as `cpu:0`; none of them leaves it to TensorFlow.
    """
    import tensorflow as tf

    if not devices:
        return contextlib.nullcontext()
    names = [f"/{name}" for name in devices]
    if len(names) == 1:
        alone: AbstractContextManager[object] = tf.device(names[0])
        return alone
    together: AbstractContextManager[object] = tf.distribute.MirroredStrategy(names).scope()
    return together


@contextlib.contextmanager
def gpu_peaks() -> Iterator[dict[str, int]]:
    """The most memory that tensors took of each GPU inside, in bytes, once it is over."""
    import tensorflow as tf

    found: dict[str, int] = {}
    gpus = [name for name in device_names() if name.startswith("gpu:")]
    for name in gpus:
        tf.config.experimental.reset_memory_stats(name.upper())
    yield found
    for name in gpus:
        found[name] = int(tf.config.experimental.get_memory_info(name.upper())["peak"])


def peak_notes(peaks: dict[str, int]) -> Iterator[str]:
    """What tensors took of GPUs, in words; nothing of those that were not used."""
    for name, peak in peaks.items():
        if peak:
            yield f"tensors took {format_quantity(peak, 'bytes')} of {name} at the most"
