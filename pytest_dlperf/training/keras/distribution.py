"""Devices of a Keras training, one or several that share each batch; and their peak memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras_backend import keras_backend
from pytest_dlperf.targets.local_devices import devices_here, resolve
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager


def sharing(devices: Sequence[str]) -> tuple[str, ...]:
    """The single devices that share a training; with GPUs, `all` leaves the CPU out."""
    if not devices:
        return ()
    if keras_backend() not in {"", "tensorflow"}:
        raise UsageError(
            f"devices={', '.join(devices)}: devices share a training by TensorFlow's "
            f"MirroredStrategy, and Keras runs on {keras_backend()}",
            "leave devices out, or set KERAS_BACKEND=tensorflow",
        )
    names = resolve(devices, "devices")
    gpus = tuple(name for name in names if name.startswith("gpu:"))
    return gpus if gpus and "all" in devices else names


def under(devices: Sequence[str]) -> AbstractContextManager[object]:
    """A scope in which models are built and fitted on these devices; empty leaves the choice."""
    if not devices:
        return contextlib.nullcontext()
    import tensorflow as tf

    names = [f"/{name}" for name in devices]
    if len(names) == 1:
        alone: AbstractContextManager[object] = tf.device(names[0])
        return alone
    # Each device has a copy of the weights and computes a part of each batch; their gradients are
    # summed.
    together: AbstractContextManager[object] = tf.distribute.MirroredStrategy(names).scope()
    return together


@contextlib.contextmanager
def gpu_peaks() -> Iterator[dict[str, int]]:
    """Peak bytes of tensors inside the block, by GPU; filled in when it ends."""
    peaks: dict[str, int] = {}
    if keras_backend() not in {"", "tensorflow"}:
        yield peaks
        return
    import tensorflow as tf

    gpus = [name for name in devices_here() if name.startswith("gpu:")]
    for name in gpus:
        tf.config.experimental.reset_memory_stats(name.upper())
    yield peaks
    for name in gpus:
        peaks[name] = int(tf.config.experimental.get_memory_info(name.upper())["peak"])


def peak_notes(peaks: dict[str, int]) -> Iterator[str]:
    """The peaks of GPUs that were used, as notes."""
    for name, peak in peaks.items():
        if peak:
            yield f"tensors took {format_quantity(peak, 'bytes')} of {name} at the most"
