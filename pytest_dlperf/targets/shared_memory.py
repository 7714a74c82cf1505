"""Shared array: one array at a time in memory that two processes see, one of which writes."""

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
    else:  # noqa: RET505 - so that type checkers know that it is another platform
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


class SharedArray:
    """Room for one array, which belongs to whoever holds its file descriptor.

    The memory has no name: nothing of it can be left behind, however the processes end, and it
    does not count towards the size of /dev/shm, 64 MiB in many containers. It grows when an array
    needs more.

    Args:
        descriptor: of the other process' room; None makes a new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous() if descriptor is None else descriptor
        self._writable: mmap.mmap | None = None
        self._readable: mmap.mmap | None = None

    def put(self, array: NDArray[Any]) -> bytes:
        """Write an array over the one before.

        Returns:
            Its type and shape, which the reader needs.

        Raises:
            TypeError: if its type means nothing in another process, such as `object`.
            OSError: if there is no memory.
        """
        if array.dtype.hasobject or array.dtype.kind == "V":
            raise TypeError(f"an array of {array.dtype} cannot be sent to another process")
        if self._writable is None or len(self._writable) < array.nbytes:
            # Doubled, so that batches that grow row by row do not each move it.
            size = max(mmap.PAGESIZE, 1 << (array.nbytes - 1).bit_length())
            os.ftruncate(self.descriptor, size)
            self._writable = mmap.mmap(self.descriptor, size)
        room: NDArray[Any] = np.ndarray(array.shape, array.dtype, self._writable)
        room[...] = array
        return " ".join((array.dtype.str, *map(str, array.shape))).encode()

    def get(self, layout: bytes) -> NDArray[Any]:
        """The array that was written last, read-only and in place: the next one overwrites it.

        Args:
            layout: what `put` returned in the other process.
        """
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
        """Let go of the descriptor; arrays that were read stay readable."""
        os.close(self.descriptor)
        self._writable = self._readable = None
