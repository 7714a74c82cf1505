"""Serving: how requests reach the replicas of a target."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_dlperf.core.checks import check_count, check_number
from pytest_dlperf.core.describe import Described


@dataclass(frozen=True, slots=True)
class Serving(Described):
    """Dynamic batching in front of one or more replicas.

    Attributes:
        max_batch_size: the most requests that one call of the target carries.
        batch_timeout: seconds that the oldest waiting request may wait for its batch to fill.
        replicas: copies of the target that answer at the same time, a thread each. A plain
            callable is shared by all of them, so it must then be safe to call from threads.
        queue_limit: the most requests that may wait; those that come when so many do are
            rejected, and count as errors. None lets all wait. For open loops.
        intra_op_threads: threads that one operation of a replica may use. TensorFlow fixes them
            when it starts, so each replica gets a process of its own. None leaves the replicas in
            this process, where they share its threads. For Keras models and functions.
    """

    max_batch_size: int = 64
    batch_timeout: float = 0.0
    replicas: int = 1
    queue_limit: int | None = None
    intra_op_threads: int | None = None

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_count(self.max_batch_size, "Serving(max_batch_size)")
        check_number(self.batch_timeout, "Serving(batch_timeout)")
        check_count(self.replicas, "Serving(replicas)")
        if self.queue_limit is not None:
            check_count(self.queue_limit, "Serving(queue_limit)")
        if self.intra_op_threads is not None:
            check_count(self.intra_op_threads, "Serving(intra_op_threads)")
