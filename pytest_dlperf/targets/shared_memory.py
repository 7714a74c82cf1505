"""One array at a time in memory shared by two processes, one of which writes."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _anonymous() -> int:
    if sys.platform == "linux":
        return os.memfd_create("dlperf")
    else:  # noqa: RET505 - type checkers need the branch for the platform
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


class SharedArray:
    """Shared memory for one array, passed to another process by its file descriptor.

    It is anonymous: nothing is left behind however the processes end, and it does not count
    towards /dev/shm, which has 64 MiB in many containers. It grows as arrays need.

    Args:
        descriptor: of memory that another process made; None makes new memory.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous() if descriptor is None else descriptor
        self._writable: mmap.mmap | None = None
        self._readable: mmap.mmap | None = None

    def put(self, array: NDArray[Any]) -> bytes:
        """Write an array over the one before; return its layout for `get` in the other process.

        Raises:
            TypeError: if its type has no meaning in another process, such as `object`.
            OSError: if memory is exhausted.
        """
        if array.dtype.hasobject or array.dtype.kind == "V":
            raise TypeError(f"an array of {array.dtype} cannot be sent to another process")
        if self._writable is None or len(self._writable) < array.nbytes:
            # A power of two, so that slowly growing batches do not remap it each time.
            size = max(mmap.PAGESIZE, 1 << (array.nbytes - 1).bit_length())
            os.ftruncate(self.descriptor, size)
            self._writable = mmap.mmap(self.descriptor, size)
        target: NDArray[Any] = np.ndarray(array.shape, array.dtype, self._writable)
        target[...] = array
        return " ".join((array.dtype.str, *map(str, array.shape))).encode()

    def get(self, layout: bytes) -> NDArray[Any]:
        """The array of a layout, read-only and in place: the next `put` overwrites it."""
        code, *lengths = layout.decode().split(" ")
        dtype, shape = np.dtype(code), tuple(map(int, lengths))
        size = dtype.itemsize
        for length in shape:
            size *= length
        if self._readable is None or len(self._readable) < size:
            self._readable = mmap.mmap(
                self.descriptor, os.fstat(self.descriptor).st_size, access=mmap.ACCESS_READ
            )
        return np.ndarray(shape, dtype, self._readable)

    def close(self) -> None:
        """Close the descriptor; arrays from `get` stay readable."""
        os.close(self.descriptor)
        self._writable = self._readable = None
