"""The reference model under 64 closed-loop clients, as a share of what it can do at all.

The limit is the concrete function called with one full batch after the other and nothing else.
The peers that live in one process are measured on the same function in that process; LitServe
serves the same model over HTTP on loopback, from processes of its own.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apart import apart
from peers import coroutines, dlperf, threads
from peers.litserve_client import closed_loop as litserve_closed_loop
from table import installed, line, ratios, spread

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.digits import load_digits
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets import keras, keras_models
from pytest_dlperf.training.reference_model import reference_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLIENTS = 64
LIMIT = "back to back"


def shares(seconds: float, rounds: int) -> None:
    """Requests a second of every peer over the limit of the same round."""
    print(f"reference model, {CLIENTS} closed-loop clients, requests a second")
    line("", "requests a second", "share of the limit (goal: 0.9)", "dlperf / peer")
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(train, folder)
        for _ in range(rounds):
            figures = apart(in_one_process, folder, seconds)
            if installed("litserve"):
                figures["LitServe, HTTP"] = apart(litserve_closed_loop, folder, CLIENTS, seconds)
            for peer, figure in figures.items():
                found.setdefault(peer, []).append(figure)
    for peer, figures_of_peer in found.items():
        share = ratios(figures_of_peer, found[LIMIT], ".3f")
        ours = ratios(found["dlperf"], figures_of_peer, ".1f")
        line(peer, spread(figures_of_peer, ",.0f"), share, ours)


def train(folder: Path) -> None:
    """Train the reference model once, into `folder`."""
    trained = reference_model(load_digits(), None, print, MonotonicClock())
    keras_models.save(trained.model, folder / "model.keras")


def in_one_process(folder: Path, seconds: float) -> dict[str, float]:
    """Requests a second of the limit and of the peers that call the model themselves."""
    model = keras_models.load(folder / "model.keras")
    data = load_digits().test
    rows = data.inputs
    prepared = dlperf.prepare_for(
        model, as_data(data), ClosedLoop(CLIENTS), Serving(CLIENTS), seconds
    )
    infer = concrete(model, rows)
    prepared.warm_up()
    totals = prepared.run(seconds, "").totals
    return {
        LIMIT: _back_to_back(infer, rows, seconds),
        "dlperf": totals.answered / (totals.span_ns * 1e-9),
        "thread per client": threads.closed_loop(infer, rows, CLIENTS, seconds),
        "asyncio, executor": coroutines.closed_loop(infer, rows, CLIENTS, seconds),
    }


def concrete(model: keras.Model, rows: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The model as one concrete function with a free batch axis, numpy in and numpy out."""
    import tensorflow as tf

    function = tf.function(lambda batch: model(batch, training=False), autograph=False)
    spec = tf.TensorSpec((None, *rows.shape[1:]), rows.dtype)
    called = function.get_concrete_function(spec)

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        answer: NDArray[Any] = called(tf.convert_to_tensor(batch)).numpy()
        return answer

    return infer


def _back_to_back(
    infer: Callable[[NDArray[Any]], object], rows: NDArray[Any], seconds: float
) -> float:
    batches = [rows[first : first + CLIENTS] for first in range(0, len(rows) - CLIENTS, CLIENTS)]
    for batch in batches:
        infer(batch)
    calls = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        infer(batches[calls % len(batches)])
        calls += 1
    return calls * CLIENTS / (time.perf_counter() - started)
