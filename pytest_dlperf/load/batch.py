"""Pending: requests that are yet to be sent, as those who send them see it."""

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
    """Nothing to send before `until_ns`; None if that depends on answers still to come."""

    until_ns: int | None


class PendingRequests(Protocol):
    """Requests by due time. Not safe for threads by itself."""

    @property
    def per_query(self) -> int:
        """Consecutive requests that are one query."""
        ...

    @property
    def rejected(self) -> int:
        """Requests that found the queue full so far."""
        ...

    @property
    def closed_loop(self) -> bool:
        """Whether answers bring further requests."""
        ...

    def take(self, now_ns: int) -> Batch | Wait | None:
        """The next batch, or when to ask again, or None when all is done.

        A batch goes when it is full, or when its oldest request has waited long enough.
        """
        ...

    def finish(self, batch: Batch, done_ns: int) -> None:
        """The batch is answered: in a closed loop its clients come again."""
        ...

    def intended_ns(self, start: int, stop: int) -> NDArray[np.int64]:
        """Due times of requests `start` to `stop - 1`, which were taken and not forgotten."""
        ...

    def forget(self, stop: int) -> None:
        """Drop the due times of all requests before `stop`, which must have been taken."""
        ...

    def left(self, now_ns: int) -> int:
        """Requests that are due but were never taken; those of a closed loop just stop.

        Nothing can be taken after that.
        """
        ...
