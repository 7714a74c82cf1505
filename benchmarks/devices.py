"""Two logical CPU devices against one, on the reference model; in one run.

Logical devices share one pool of threads, so two of them show that several devices work, and what
it costs to have them; not what a second processor would bring.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from apart import apart
from peers import dlperf
from reference_line import CLIENTS, train
from table import line, ratios, spread

from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.digits import load_digits
from pytest_dlperf.load.scenarios import ClosedLoop, Offline
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets import keras_models
from pytest_dlperf.targets.local_devices import split_cpu

SIDES = {
    "one device": ("cpu:0",),
    "two devices": ("cpu:0", "cpu:1"),
}


def two_devices(seconds: float, rounds: int) -> None:
    """Requests a second of each, and the ratio of the same round."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(train, folder)
        for _ in range(rounds):
            for label, figure in apart(on_devices, folder, seconds).items():
                found.setdefault(label, []).append(figure)
    print("reference model on two logical CPU devices, requests a second")
    line("", "one device", "two devices", "two / one")
    for load in ("closed loop", "offline"):
        one, two = (found[f"{load}, {side}"] for side in SIDES)
        line(load, spread(one, ",.0f"), spread(two, ",.0f"), ratios(two, one, ".2f"))


def on_devices(folder: Path, seconds: float) -> dict[str, float]:
    """Requests a second, by load and devices."""
    split_cpu(len(SIDES["two devices"]))
    model = keras_models.load(folder / "model.keras")
    data = as_data(load_digits().test)
    figures = {}
    for load, scenario in (("closed loop", ClosedLoop(2 * CLIENTS)), ("offline", Offline())):
        for side, devices in SIDES.items():
            serving = Serving(CLIENTS, devices=devices)
            prepared = dlperf.prepare_for(model, data, scenario, serving, seconds)
            prepared.warm_up()
            totals = prepared.run(seconds, "").totals
            figures[f"{load}, {side}"] = totals.answered / (totals.span_ns * 1e-9)
    return figures
