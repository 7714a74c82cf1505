"""Hashes of the content of rows: of a data set as a whole, and of each of its rows."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.trees import as_tree, contents, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows

_CHUNK_BYTES: Final = 8 << 20


def content_hash(*parts: Rows | None) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of paths, types, shapes and contents."""
    digest = hashlib.sha256()
    for part in parts:
        if part is None:
            digest.update(b"none")
            continue
        for path, leaf in leaves(as_tree(part)):
            for array in contents(leaf):
                digest.update(f"{path}{array.dtype.str}{array.shape}".encode())
                if array.dtype.hasobject:
                    for text in _encoded(array):
                        digest.update(b"%d:%s" % (len(text), text))
                else:
                    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _encoded(texts: NDArray[Any]) -> Iterator[bytes]:
    for text in texts.reshape(-1):
        yield b"s" + text.encode(errors="surrogatepass") if isinstance(text, str) else b"b" + text


def distinct_rows(*parts: Rows | None) -> NDArray[np.int64] | None:
    """The number of each row's content, shape `(rows,)`; None if no two rows are the same.

    Contents are numbered from 0 in the order in which they first occur. Rows are the same if they
    are in all parts, such as inputs and labels, byte by byte.
    """
    hashes = [
        _row_hashes(array)
        for part in parts
        if part is not None
        for _, leaf in leaves(as_tree(part))
        for array in contents(leaf)
    ]
    _, first, number = np.unique(np.stack(hashes), axis=1, return_index=True, return_inverse=True)
    if len(first) == len(hashes[0]):
        return None
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[number.reshape(-1)]


def _row_hashes(array: NDArray[Any]) -> NDArray[np.uint64]:
    """A hash of 64 bits of each row, shape `(rows,)`: a sum of its mixed and numbered words."""
    rows = len(array)
    if array.dtype.hasobject:
        return np.array([_text_hash(row) for row in array.reshape(rows, -1)], np.uint64)
    size = array.dtype.itemsize * math.prod(array.shape[1:])
    words = -(-size // 8)
    keys = np.random.default_rng(0).integers(0, 2**64, words, np.uint64)
    hashes = np.zeros(rows, np.uint64)
    step = max(1, _CHUNK_BYTES // max(1, 8 * words))
    for start in range(0, rows, step):
        part = np.ascontiguousarray(array[start : start + step])
        count = len(part)
        padded = np.zeros((count, 8 * words), np.uint8)
        padded[:, :size] = part.view(np.uint8).reshape(count, size)
        mixed = padded.view(np.uint64) + keys
        # The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            mixed ^= mixed >> np.uint64(shift)
            mixed *= np.uint64(factor)
        hashes[start : start + step] = mixed.sum(axis=1, dtype=np.uint64)
    return hashes


def _text_hash(texts: NDArray[Any]) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for text in _encoded(texts):
        digest.update(b"%d:%s" % (len(text), text))
    return int.from_bytes(digest.digest(), "little")
