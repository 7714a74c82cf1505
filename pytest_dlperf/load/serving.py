"""Serving: batching of requests, and the replicas of a target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_dlperf._values import Described, check_count, check_number, device_names
from pytest_dlperf.errors import UsageError


@dataclass(frozen=True, slots=True)
class Serving(Described):
    """Dynamic batching in front of one or more replicas.

    Attributes:
        max_batch_size: the most requests that one call of the target carries.
        batch_timeout: seconds that the oldest waiting request may wait for its batch to fill.
        replicas: copies of the target that answer at the same time, a thread each; with
            `devices`, copies on each device. A plain callable is shared by all of them, so it
            must be thread-safe.
        queue_limit: the most requests that may wait; requests that find the queue full are
            rejected, and count as errors. None sets no limit. For open loops.
        devices: devices of the replicas: names such as `cpu:0`, or `cpu`, `gpu` and `all` for
            every such device of the machine; one text or several. None leaves it to the target.
            A Keras model gets a copy of its weights on each device.
        allowed_batch_sizes: the only batch sizes that the target is called with, increasing, the
            last one being `max_batch_size`: a batch is padded with zeros to the next of them,
            and its answer is cut. None chooses the faster way for Keras models and functions.
        intra_op_threads: threads of one operation of a replica. TensorFlow fixes them when it
            starts, so each replica gets a process of its own. None leaves the replicas in this
            process, where they share its threads. For Keras models and functions.
        group_by_length: whether the rows of one call are split into groups of a length each, which
            are padded and answered one after the other. For `Ragged(lengths=..., mask=...)`.
    """

    max_batch_size: int = 64
    batch_timeout: float = 0.0
    replicas: int = 1
    queue_limit: int | None = None
    devices: Sequence[str] | None = None
    allowed_batch_sizes: Sequence[int] | None = None
    intra_op_threads: int | None = None
    group_by_length: bool = False

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_count(self.max_batch_size, "Serving(max_batch_size)")
        check_number(self.batch_timeout, "Serving(batch_timeout)")
        check_count(self.replicas, "Serving(replicas)")
        if not isinstance(self.group_by_length, bool):
            raise UsageError(
                f"Serving(group_by_length={self.group_by_length!r:.80})", "expected True or False"
            )
        if self.queue_limit is not None:
            check_count(self.queue_limit, "Serving(queue_limit)")
        if self.devices is not None:
            names = device_names(self.devices, "Serving(devices)")
            object.__setattr__(self, "devices", names or None)
        if self.allowed_batch_sizes is not None:
            object.__setattr__(self, "allowed_batch_sizes", self._checked_sizes())
        if self.intra_op_threads is not None:
            check_count(self.intra_op_threads, "Serving(intra_op_threads)")
            if self.devices:
                raise UsageError(
                    f"Serving(intra_op_threads={self.intra_op_threads}) with "
                    f"devices={self.devices}",
                    "a replica in a process of its own takes the device that TensorFlow gives it",
                )

    @property
    def everywhere(self) -> int:
        """Replicas on all devices together; `devices` must name single devices."""
        return self.replicas * len(self.devices or (None,))

    def _checked_sizes(self) -> tuple[int, ...]:
        __tracebackhide__ = True
        given = self.allowed_batch_sizes
        what = "Serving(allowed_batch_sizes)"
        if not isinstance(given, Iterable):
            raise UsageError(
                f"{what}={given!r:.80}", "expected sizes of batches, such as (1, 8, 64)"
            )
        for size in (sizes := tuple(given)):
            check_count(size, what)
        if any(after <= before for before, after in pairwise(sizes)):
            raise UsageError(f"{what}={sizes!r:.80}", "expected increasing sizes")
        if sizes[-1:] != (self.max_batch_size,):
            raise UsageError(
                f"{what}={sizes!r:.80} does not end with max_batch_size={self.max_batch_size}",
                "the largest batch must be one that is allowed",
            )
        return tuple(map(int, sizes))
