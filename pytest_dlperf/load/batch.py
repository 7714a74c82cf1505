"""What request queues and load runners hand to each other: batches, waits, and the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests `start` to `stop - 1`, to be sent together."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to send before `until_ns`; None if that depends on outstanding answers."""

    until_ns: int | None


class PendingRequests(Protocol):
    """Requests by due time. Not thread-safe."""

    @property
    def per_query(self) -> int:
        """Consecutive requests that form one query."""
        ...

    @property
    def rejected(self) -> int:
        """Requests that found the queue full so far."""
        ...

    @property
    def closed_loop(self) -> bool:
        """Whether answers trigger further requests."""
        ...

    def take(self, now_ns: int) -> Batch | Wait | None:
        """The next batch, or how long to wait for it, or None if no request is left.

        A batch is due when it is full, or when its oldest request has waited `batch_timeout`.
        """
        ...

    def finish(self, batch: Batch, done_ns: int) -> None:
        """Record that a batch was answered; in a closed loop its clients send again."""
        ...

    def intended_ns(self, start: int, stop: int) -> NDArray[np.int64]:
        """Due times of requests `start` to `stop - 1`; they were taken, and not yet forgotten."""
        ...

    def forget(self, stop: int) -> None:
        """Drop the due times of all requests before `stop`; they must have been taken."""
        ...

    def left(self, now_ns: int) -> int:
        """Number of requests that are due but were never taken; 0 for a closed loop.

        Nothing can be taken afterwards.
        """
        ...
