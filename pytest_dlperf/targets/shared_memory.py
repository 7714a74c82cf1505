"""One batch at a time in memory shared by two processes, one of which writes."""

from __future__ import annotations

import json
import mmap
import os
import pickle
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.trees import leaves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.trees import Tree

_TREE: Final = b"{"  # begins the layout of what is no single array of numbers
_ALIGNED: Final = 64


def _anonymous() -> int:
    if sys.platform == "linux":
        return os.memfd_create("dlperf")
    else:  # noqa: RET505 - type checkers need the branch for the platform
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


class SharedArrays:
    """Shared memory for one array or tree, passed to another process by its file descriptor.

    It is anonymous: nothing is left behind however the processes end, and it does not count
    towards /dev/shm, which has 64 MiB in many containers. It grows as arrays need.

    Args:
        descriptor: of memory that another process made; None makes new memory.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous() if descriptor is None else descriptor
        self._writable: mmap.mmap | None = None
        self._readable: mmap.mmap | None = None

    def put(self, tree: Tree) -> bytes:
        """Write arrays over those before; return their layout for `get` in the other process.

        Raises:
            TypeError: if a type has no meaning in another process.
            OSError: if memory is exhausted.
        """
        if isinstance(tree, np.ndarray) and not tree.dtype.hasobject:
            _check_sent(tree)
            _write(self._room(tree.nbytes), 0, tree)
            return " ".join((tree.dtype.str, *map(str, tree.shape))).encode()
        arrays = [np.asarray(leaf) for _, leaf in leaves(tree)]
        # Text is an array of objects: the other process is our own, and gets it pickled.
        texts = {
            number: np.frombuffer(pickle.dumps(_texts(array)), np.uint8)
            for number, array in enumerate(arrays)
            if array.dtype.hasobject
        }
        sent = [texts.get(number, array) for number, array in enumerate(arrays)]
        for array in sent:
            _check_sent(array)
        starts = [0]
        for array in sent:
            starts.append(-(-(starts[-1] + array.nbytes) // _ALIGNED) * _ALIGNED)
        room = self._room(starts[-1])
        described = []
        for number, (array, start) in enumerate(zip(sent, starts[:-1], strict=True)):
            _write(room, start, array)
            described.append([array.dtype.str, array.shape, start, number in texts])
        numbers = iter(range(len(arrays)))
        return json.dumps({"leaves": described, "tree": _structure(tree, numbers)}).encode()

    def get(self, layout: bytes) -> Any:  # noqa: ANN401 - a tree
        """The arrays of a layout, read-only and in place: the next `put` overwrites them."""
        if not layout.startswith(_TREE):
            code, *lengths = layout.decode().split(" ")
            return self._read(np.dtype(code), tuple(map(int, lengths)), 0)
        content = json.loads(layout)
        arrays = []
        for code, shape, start, is_text in content["leaves"]:
            array = self._read(np.dtype(code), tuple(shape), start)
            arrays.append(pickle.loads(array.tobytes()) if is_text else array)  # noqa: S301 - ours
        return _rebuilt(content["tree"], arrays)

    def close(self) -> None:
        """Close the descriptor; arrays from `get` stay readable."""
        os.close(self.descriptor)
        self._writable = self._readable = None

    def _room(self, size: int) -> mmap.mmap:
        if self._writable is None or len(self._writable) < size:
            # A power of two, so that slowly growing batches do not remap it each time.
            size = max(mmap.PAGESIZE, 1 << (size - 1).bit_length())
            os.ftruncate(self.descriptor, size)
            self._writable = mmap.mmap(self.descriptor, size)
        return self._writable

    def _read(self, dtype: np.dtype[Any], shape: tuple[int, ...], start: int) -> NDArray[Any]:
        size = start + dtype.itemsize
        for length in shape:
            size = start + (size - start) * length
        if self._readable is None or len(self._readable) < size:
            self._readable = mmap.mmap(
                self.descriptor, os.fstat(self.descriptor).st_size, access=mmap.ACCESS_READ
            )
        return np.ndarray(shape, dtype, self._readable, start)


def _check_sent(array: NDArray[Any]) -> None:
    if array.dtype.hasobject or array.dtype.kind == "V":
        raise TypeError(f"an array of {array.dtype} cannot be sent to another process")


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    if not all(isinstance(text, str | bytes) for text in array.flat):
        raise TypeError(f"an array of {array.dtype} cannot be sent to another process")
    return array


def _write(room: mmap.mmap, start: int, array: NDArray[Any]) -> None:
    target: NDArray[Any] = np.ndarray(array.shape, array.dtype, room, start)
    target[...] = array


def _structure(tree: Tree, numbers: Any) -> Any:  # noqa: ANN401 - JSON
    """The tree for JSON, with the numbers of its leaves."""
    if isinstance(tree, Mapping):
        return {"dict": {name: _structure(part, numbers) for name, part in tree.items()}}
    if isinstance(tree, list | tuple):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [_structure(part, numbers) for part in tree]}
    return next(numbers)


def _rebuilt(structure: Any, arrays: list[NDArray[Any]]) -> Any:  # noqa: ANN401 - JSON, a tree
    match structure:
        case {"dict": parts}:
            return {name: _rebuilt(part, arrays) for name, part in parts.items()}
        case {"list": parts}:
            return [_rebuilt(part, arrays) for part in parts]
        case {"tuple": parts}:
            return tuple(_rebuilt(part, arrays) for part in parts)
    return arrays[structure]
