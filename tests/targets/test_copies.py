"""Copies of targets: what is copied lies elsewhere and answers alike; all else is refused."""

from __future__ import annotations

import copy
import functools
import itertools
import threading
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_dlperf.errors import OneLayoutError
from pytest_dlperf.targets.copies import placed_anew, same_steps
from pytest_dlperf.targets.remote.http import HttpPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROWS = np.arange(12).reshape(3, 4)
TABLE = np.random.default_rng(0).random((4000, 8))
SMALL = np.arange(3)
CALLS = itertools.count()
WIDTHS = (1, 2, 3)
READS = "global", "indirect", "writes", "class", "method"
SERVERS = "server", "import", "pool"


def table() -> NDArray[Any]:
    """A fresh one of 250 KiB."""
    return TABLE.copy()


def doubled(batch: NDArray[Any]) -> NDArray[Any]:
    """A helper that reads small globals only."""
    next(CALLS)
    return batch * (2 + SMALL[0] + len(WIDTHS))


def of_table(batch: NDArray[Any]) -> NDArray[Any]:
    """Reads a global table."""
    return TABLE[batch]


def indirect(batch: NDArray[Any]) -> NDArray[Any]:
    """Calls what reads a global table."""
    return of_table(batch)


def counting(batch: NDArray[Any]) -> NDArray[Any]:
    """Writes a global."""
    global CALLS  # noqa: PLW0603 - as a user might
    CALLS = itertools.count()
    return batch


def asking(batch: NDArray[Any]) -> object:
    """Asks a server."""
    return urllib.request.urlopen("http://localhost", batch.tobytes())


def asking_inside(batch: NDArray[Any]) -> object:
    """Asks a server, by a module that it imports itself."""
    import http.client

    return http.client.HTTPConnection("localhost").request("POST", "/", batch.tobytes())


def gathers(rows: NDArray[Any], batch: NDArray[Any]) -> NDArray[Any]:
    """Of a table that is an argument."""
    return rows[batch]


@dataclass
class Model:
    """A model that holds what it reads."""

    weights: NDArray[Any] = field(default_factory=table)
    layers: list[dict[str, NDArray[Any]]] = field(default_factory=lambda: [{"kernel": table()}])
    lock: Any = field(default_factory=threading.Lock)

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Gather from both."""
        with self.lock:
            return doubled(self.weights[batch]) + self.layers[0]["kernel"][batch]


class OfClass(Model):
    """A model whose table is of the class."""

    rows = TABLE

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Gather."""
        return self.rows[batch]


class OfGlobals(Model):
    """A model whose method reads a global."""

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Gather."""
        return TABLE[batch]


class Itself(Model):
    """A model whose way to be copied leaves it where it is."""

    def __deepcopy__(self, memo: object) -> Itself:
        """No copy."""
        return self


class Shallow(Model):
    """A model whose way to be copied leaves its tables where they are."""

    def __deepcopy__(self, memo: object) -> Shallow:
        """Another object, of the same tables."""
        return copy.copy(self)


class Replaced(OfGlobals):
    """A model with a way of its own to be copied, whose method reads a global."""

    def __deepcopy__(self, memo: object) -> Replaced:
        """A fresh one."""
        return Replaced()


class Slotted:
    """A model without a dictionary."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = table()

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Gather."""
        return self.rows[batch]


def closure() -> Callable[..., Any]:
    """A function of a function, both of which hold a table."""
    outer, inner = table(), table()

    def inside(batch: NDArray[Any]) -> NDArray[Any]:
        return inner[batch]

    @functools.wraps(inside)
    def infer(batch: NDArray[Any], scale: float = 2.0) -> NDArray[Any]:
        return outer[batch] * scale + inside(batch)

    return infer


def with_default(rows: NDArray[Any]) -> Callable[..., Any]:
    """A function whose table is a default."""
    return lambda batch, held=(rows,): held[0][batch]


def recursive() -> Callable[..., Any]:
    """A function that calls itself."""
    rows = table()

    def infer(batch: NDArray[Any], depth: int = 2) -> NDArray[Any]:
        return rows[batch] if not depth else infer(batch, depth - 1)

    return infer


def arrays_of(value: Any, seen: set[int] | None = None) -> set[int]:  # noqa: ANN401
    """Addresses of all large arrays that a target reaches, but for those of this module."""
    import gc
    import types

    seen = set() if seen is None else seen
    own = set(map(id, (globals(), TABLE)))
    if id(value) in seen or id(value) in own or isinstance(value, types.ModuleType | type):
        return set()
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return {value.__array_interface__["data"][0]} if value.nbytes > 4096 else set()
    parts = gc.get_referents(value)
    if isinstance(value, types.FunctionType):
        parts = [value.__closure__, value.__defaults__]
    return set().union(*(arrays_of(part, seen) for part in parts))


@pytest.mark.parametrize(
    "target",
    [
        Model().infer,
        Slotted(),
        closure(),
        recursive(),
        functools.partial(gathers, table()),
        functools.partial(np.take, table(), axis=0),
        table().__getitem__,
        with_default(table()),
        doubled,
    ],
    ids=["method", "slots", "closure", "recursive", "partial", "ufunc", "bound", "default", "none"],
)
def test_a_copy_lies_elsewhere_and_answers_alike(target: Callable[..., Any]) -> None:
    """No large array of the copy is one of the target's, and no answer differs by a bit."""
    made = placed_anew(target)

    assert callable(made)
    assert not arrays_of(made) & arrays_of(target)
    assert len(arrays_of(made)) == len(arrays_of(target))
    assert np.array_equal(made(ROWS), target(ROWS))


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (of_table, "of_table reads the global TABLE"),
        (indirect, "of_table reads the global TABLE"),
        (counting, "counting changes the global CALLS"),
        (OfClass().infer, "OfClass.rows is of the class"),
        (OfGlobals(), "OfGlobals.infer reads the global TABLE"),
        (Itself(), "Itself.__deepcopy__ shares weights, which is not copied"),
        (Shallow().infer, "Shallow.__deepcopy__ shares weights, which is not copied"),
        (Replaced(), "OfGlobals.infer reads the global TABLE"),
        (functools.partial(of_table), "reads the global TABLE"),
        (functools.lru_cache(doubled), "cannot be copied"),
        (asking, "reads the global urllib: it asks another process"),
        (asking_inside, r"uses http.client: it asks another process"),
        (HttpPool.__new__(HttpPool), "it asks another process"),
        ((iter(ROWS) for _ in ROWS), "it cannot be copied .TypeError"),
    ],
    ids=[
        "global",
        "indirect",
        "writes",
        "class",
        "method",
        "itself",
        "shallow",
        "replaced",
        "partial",
        "cache",
        *SERVERS,
        "generator",
    ],
)
def test_what_stays_where_it_is_is_refused(target: object, why: str) -> None:
    """With what it is: no copy is made that would read the same memory."""
    with pytest.raises(OneLayoutError, match=why):
        placed_anew(target)


def test_what_two_parts_share_is_copied_once() -> None:
    """Two functions over one table have one table afterwards, too."""
    rows = table()
    both = (lambda batch: rows[batch], lambda batch: rows[batch])

    first, second = placed_anew(both)  # type: ignore[misc]  # a tuple

    assert first.__closure__[0].cell_contents is second.__closure__[0].cell_contents


@pytest.mark.parametrize(
    "view",
    [
        TABLE[::3, ::2],
        TABLE[::-1],
        TABLE.T,
        TABLE[:, None, 1:3],
        np.asfortranarray(TABLE),
        np.broadcast_to(SMALL, (4, 3)),
    ],
    ids=["steps", "reversed", "turned", "part", "fortran", "broadcast"],
)
def test_an_array_keeps_its_steps(view: NDArray[Any]) -> None:
    """A copy that were made compact would be read in another way, and be faster."""
    copy = same_steps(view)

    assert copy.strides == view.strides
    assert np.array_equal(copy, view)
    assert not np.shares_memory(copy, view)
    assert copy.flags.writeable == view.flags.writeable


def test_a_mapped_file_is_refused(tmp_path: Any) -> None:  # noqa: ANN401 - a path
    """Its copy would be in memory."""
    np.save(tmp_path / "rows.npy", TABLE)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")

    with pytest.raises(OneLayoutError, match="mapped into memory"):
        placed_anew(lambda batch: rows[batch])


@pytest.mark.tensorflow  # as long as that takes to start
def test_a_torch_module_in_a_closure() -> None:
    """Its parameters are elsewhere."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).eval()

    def make(module: Any) -> Callable[..., Any]:  # noqa: ANN401 - a module
        def infer(batch: NDArray[Any]) -> Any:  # noqa: ANN401 - an array
            with torch.inference_mode():
                return module(torch.from_numpy(batch)).numpy()

        return infer

    target, rows = make(net), ROWS.astype(np.float32)
    copy: Any = placed_anew(target)
    module = copy.__closure__[0].cell_contents

    assert module[0].weight.data_ptr() != net[0].weight.data_ptr()
    assert np.array_equal(copy(rows), target(rows))


@pytest.mark.tensorflow
def test_jax_parameters() -> None:
    """Those that are arguments are copied; a compiled function that holds them is refused."""
    jax = pytest.importorskip("jax")
    weights = {"kernel": jax.numpy.ones((4, 3))}
    apply = jax.jit(lambda held, batch: batch @ held["kernel"])
    copy: Any = placed_anew(functools.partial(apply, weights))

    kernel = copy.args[0]["kernel"]
    assert kernel.unsafe_buffer_pointer() != weights["kernel"].unsafe_buffer_pointer()
    assert np.array_equal(copy(ROWS), apply(weights, ROWS))
    with pytest.raises(OneLayoutError, match=r"jax\.jit holds an array"):
        placed_anew(jax.jit(lambda batch: batch @ weights["kernel"]))


@pytest.mark.tensorflow
def test_keras_models_and_what_is_made_of_them() -> None:
    """Each layer's weights are copied; XLA, LiteRT and ONNX Runtime get models of their own."""
    import keras
    import tensorflow as tf

    from pytest_dlperf.targets.conversion import as_target

    rows = np.random.default_rng(0).random((3, 4)).astype(np.float32)

    class Own(keras.Model):
        def __init__(self, units: int = 3, **named: Any) -> None:  # noqa: ANN401
            super().__init__(**named)
            self.units, self.dense = units, keras.layers.Dense(units)

        def call(self, inputs: Any) -> Any:  # noqa: ANN401 - tensors
            return self.dense(inputs)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    layers = keras.layers
    plain = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Normalization(mean=1.0, variance=2.0),
            layers.Lambda(lambda inputs: inputs * 2),
            keras.Sequential([layers.Dense(3), layers.BatchNormalization()]),
        ]
    )
    own = Own()
    own(rows)
    for model in (plain, own):
        copy: Any = placed_anew(model)
        kept: Any = placed_anew(functools.partial(lambda held, batch: held(batch), model))
        assert not set(map(id, copy.weights)) & set(map(id, model.weights))
        assert np.array_equal(copy(rows), model(rows))
        assert np.array_equal(kept(rows), model(rows))
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    for runtime in ("xla", "litert", "onnx"):
        target: Any = as_target(dense, runtime, rows)
        again: Any = placed_anew(target)
        assert again is not target
        assert again.description == target.description
        assert np.array_equal(again.infer(rows), target.infer(rows))
    with pytest.raises(OneLayoutError, match=r"the variables of the tf\.function"):
        placed_anew(tf.function(lambda batch: batch * 2))

    class Closed(keras.Model):
        def __init__(self, dense: Any) -> None:  # noqa: ANN401 - a layer
            super().__init__()
            self.dense = dense

        def call(self, inputs: Any) -> Any:  # noqa: ANN401 - tensors
            return self.dense(inputs)

    closed = Closed(layers.Dense(2))
    closed(rows)
    with pytest.raises(OneLayoutError, match="cannot be copied: NotImplementedError"):
        placed_anew(closed)
