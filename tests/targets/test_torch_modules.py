"""PyTorch modules are measured as they are: in inference mode, on their device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.ragged import Ragged
from pytest_dlperf.targets import torch_modules
from pytest_dlperf.targets.conversion import as_target
from pytest_dlperf.targets.copies import placed_anew
from pytest_dlperf.targets.kinds import kind_of_target
from pytest_dlperf.targets.target import prepare
from pytest_dlperf.targets.torch_modules import is_compiled

pytestmark = pytest.mark.torch

torch: Any = None

ROWS = np.random.default_rng(0).random((300, 8)).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def _torch(request: pytest.FixtureRequest) -> None:
    """Import it only where these tests are run: collecting all tests would take seconds more."""
    request.module.torch = pytest.importorskip("torch")


def classifier() -> Any:  # noqa: ANN401 - PyTorch's types are not used here
    """A small classifier with dropout, as it is after training."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 3)
    )


def labels_of(module: Any, rows: np.ndarray) -> np.ndarray:  # noqa: ANN401
    """What the module says in evaluation mode."""
    module.eval()
    with torch.no_grad():
        return module(torch.tensor(rows)).argmax(1).numpy()


def measured(target: object, data: object, **options: Any) -> Any:  # noqa: ANN401 - any option
    """A short measurement on the real clock, without a warning."""
    chosen = {"scenario": ClosedLoop(16), "duration": 0.2, **options}
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return measure(target, as_data(data), plan([Options(**chosen)]), bench, test="t", name="")


@pytest.mark.parametrize(
    "serving",
    [
        Serving(),
        Serving(8, replicas=2),
        Serving(8, allowed_batch_sizes=(4, 8)),
        Serving(8, devices=("cpu:0",)),
    ],
    ids=["default", "two replicas", "padded", "on a device"],
)
def test_every_row_gets_its_own_answer(serving: Serving) -> None:
    """None is mixed up, none needs a gradient, and dropout is off."""
    module = classifier()
    labels = labels_of(module, ROWS)
    module.train()

    found = measured(module, (ROWS, labels), serving=serving)

    assert found.metrics["accuracy"].value == 1
    assert found.errors == ()
    assert found.target.startswith("PyTorch module Sequential")
    assert module.training


def test_inference_mode() -> None:
    """Entered in the load's threads, where the test's own does not hold."""
    seen = []

    class Watching(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, rows: Any) -> Any:  # noqa: ANN401
            seen.append((torch.is_inference_mode_enabled(), self.training))
            return rows * 2

    measured(Watching(), (ROWS, None))

    assert set(seen) == {(True, False)}


def test_inputs_stay_as_they_are() -> None:
    """A module may write into its input."""

    class Doubling(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, rows: Any) -> Any:  # noqa: ANN401
            return rows.mul_(2)

    before = ROWS.copy()
    found = measured(Doubling(), (ROWS, ROWS * 2), task="regression")

    assert found.metrics["loss"].value == pytest.approx(0)
    np.testing.assert_array_equal(ROWS, before)


def test_inputs_by_name_or_place() -> None:
    """As `forward` takes them, those of many lengths too; outputs by name."""

    class Model(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, ids: Any, mask: Any, unused: Any = None) -> Any:  # noqa: ANN401
            del unused
            total = (ids * mask).sum(1)
            return {"odd": torch.stack([1.0 - total % 2, total % 2], 1), "total": total}

    texts = [np.arange(n % 7 + 1) for n in range(200)]
    labels = np.array([text.sum() % 2 for text in texts])
    ids = Ragged(texts, pad=9, lengths=(4, 8), mask="mask")
    padded = np.stack([np.resize(np.append(text, [0] * 8), 8) for text in texts])

    for inputs in ({"ids": ids}, (padded, np.ones_like(padded))):
        found = measured(Model(), (inputs, labels), output="odd")
        assert found.metrics["accuracy"].value == 1
        assert found.errors == ()


def test_short_floats() -> None:
    """Answers in bfloat16 are read."""
    module = classifier().eval().to(torch.bfloat16)
    rows = ROWS.astype(np.float32)

    class Short(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, batch: Any) -> Any:  # noqa: ANN401
            return module(batch.to(torch.bfloat16))

    assert measured(Short(), (rows, None)).errors == ()


def test_a_compiled_module_has_few_shapes() -> None:
    """What `torch.compile` made is called with batches of a few sizes only."""
    sizes = set()

    def backend(graph: Any, _: object) -> Any:  # noqa: ANN401 - a backend without a compiler
        def run(*arguments: Any) -> Any:  # noqa: ANN401
            sizes.update(len(each) for each in arguments if each.shape[-1:] == (8,))
            return graph.forward(*arguments)

        return run

    compiled = torch.compile(classifier().eval(), backend=backend, dynamic=False)
    found = prepare(compiled, ROWS[:8], plan([Options(serving=Serving(8))]), MonotonicClock())
    for rows in range(1, 9):
        found.replicas[0].infer(ROWS[:rows])

    assert "compiled by torch.compile, batches padded to powers of two" in found.description
    assert sizes <= {1, 2, 4, 8, 16}


def test_a_module_is_placed_anew_for_a_duel() -> None:
    """A copy has weights of its own."""
    module = classifier().eval()
    copy: Any = placed_anew(module)

    weights, copied = module[0].weight, copy[0].weight
    assert weights.data_ptr() != copied.data_ptr()
    assert torch.equal(weights, copied)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (["a", "b"], {}, "is given text: PyTorch has none"),
        ({"x": ["a", "b"], "y": [1, 2]}, {}, "is given text as x: PyTorch has none"),
        (ROWS, {"serving": Serving(devices=("gpu:0",))}, "gpu:0"),
        (ROWS, {"serving": Serving(intra_op_threads=1)}, "needs a model or function of TensorFlow"),
        (ROWS, {"clients": "async"}, "clients='async' with PyTorch module Sequential"),
        (ROWS[:, :5], {}, "mat1 and mat2"),
        (ROWS.astype(np.float64), {}, 'give .astype("float32")'),
    ],
)
def test_misuses(rows: object, options: dict[str, Any], said: str) -> None:
    """What was given, and what to do."""
    with pytest.raises((UsageError, TargetError)) as caught:
        measured(classifier(), (rows, None), **options)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "rows", "said"),
    [
        (
            lambda: torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(20, 3)),
            ROWS,
            "Linear(in_features=20, out_features=3, bias=True)",
        ),
        (lambda: torch.nn.Embedding(5, 3), np.full((8, 4), 9), "Embedding(5, 3)"),
        (lambda: torch.nn.Conv1d(2, 4, 3), ROWS, "Conv1d(2, 4, kernel_size=(3,), stride=(1,))"),
    ],
)
def test_the_layer_that_refuses_the_data(layers: Any, rows: Any, said: str) -> None:  # noqa: ANN401
    """PyTorch's own message has sizes of a product, or none: the layer says what it takes."""
    with pytest.raises(TargetError) as caught:
        measured(layers(), (rows, None))

    assert str(caught.value).endswith(f"\n  refused by {said}")


def test_what_is_no_module() -> None:
    """Its class, and functions that use PyTorch, are no modules."""
    assert kind_of_target(torch.nn.Linear) is None
    assert kind_of_target(lambda batch: batch) is None


def test_compile_on_request() -> None:
    """As `torch.compile` does it, with the weights of the module."""
    module = classifier()
    labels = labels_of(module, ROWS)
    target: Any = as_target(module, "torch", compile=True)

    assert is_compiled(target)
    assert kind_of_target(target) is torch_modules
    assert as_target(module, "torch") is module
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        assert (target(torch.tensor(ROWS)).argmax(1).numpy() == labels).all()
    for wrong, runtime in ((len, "torch"), (3, "jax")):
        with pytest.raises(UsageError, match="expected a"):
            as_target(wrong, runtime)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is for the runtime torch"):
        as_target(module, "xla", ROWS, compile=True)
