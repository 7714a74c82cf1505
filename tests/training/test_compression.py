"""Finishes as values: what they refuse, their texts, and who carries a quantisation out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.conversion import Quantisation
from pytest_dlperf.training.compression import (
    Distillation,
    MagnitudePruning,
    NeuronPruning,
    split_steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.targets.conversion import Runtime
    from pytest_dlperf.training.compression import PostTrainingStep


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Quantisation("int4"), "kind"),  # type: ignore[arg-type]
        (lambda: MagnitudePruning(0), "share"),
        (lambda: MagnitudePruning(1), "share"),
        (lambda: MagnitudePruning(0.5, epochs=-1), "epochs"),
        (lambda: NeuronPruning(1.5), "share"),
        (lambda: NeuronPruning(0.5, epochs=False), "epochs"),
        (lambda: Distillation({1: 2}), "arguments"),  # type: ignore[dict-item]
        (lambda: Distillation([("units", 2)]), "arguments"),  # type: ignore[arg-type]
        (lambda: Distillation(weight=1.1), "weight"),
        (lambda: Distillation(weight=-0.1), "weight"),
        (lambda: Distillation(temperature=0), "temperature"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(make: Callable[[], object], named: str) -> None:
    """A value out of range is refused when it is given, and the message names it."""
    with pytest.raises(UsageError, match=named):
        make()


def test_texts_tell_all_of_them_apart() -> None:
    """Trained models are kept under these texts: no two different finishes share one."""
    finishes = [
        Quantisation(),
        MagnitudePruning(0.5),
        MagnitudePruning(0.5, epochs=2),
        MagnitudePruning(0.25),
        NeuronPruning(0.5),
        Distillation({"units": 32}),
        Distillation({"units": 64}),
        Distillation({"units": 32}, weight=0.25),
        Distillation({"units": 32}, temperature=4),
        Distillation({"units": "32"}),
    ]

    assert len(set(map(str, finishes))) == len(finishes)
    assert len(set(finishes)) == len(finishes)


def test_the_order_of_arguments_does_not_matter() -> None:
    """The same arguments in another order are the same distillation, with the same text."""
    one = Distillation({"units": 32, "layers": 1})
    other = Distillation({"layers": 1, "units": 32})

    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == str(other)


def test_arguments_cannot_be_changed_later() -> None:
    """The arguments are copied: what is done to the given ones does not reach them."""
    given = {"units": 32}
    finish = Distillation(given)
    given["units"] = 64

    assert dict(finish.arguments) == {"units": 32}


@pytest.mark.parametrize(
    ("finishes", "runtime", "by_keras", "by_converter"),
    [
        ((), "litert", (), None),
        ((NeuronPruning(0.5),), "onnx", (NeuronPruning(0.5),), None),
        ((Quantisation(),), "tf.function", (Quantisation(),), None),
        ((Quantisation(),), "xla", (Quantisation(),), None),
        ((Quantisation(),), "litert", (), Quantisation()),
        (
            (NeuronPruning(0.5), Quantisation()),
            "onnx",
            (NeuronPruning(0.5),),
            Quantisation(),
        ),
    ],
)
def test_converters_round_weights_themselves(
    finishes: tuple[PostTrainingStep, ...],
    runtime: Runtime,
    by_keras: tuple[PostTrainingStep, ...],
    by_converter: Quantisation | None,
) -> None:
    """A quantisation is Keras' affair where Keras computes, and the converter's elsewhere."""
    assert split_steps(finishes, runtime) == (by_keras, by_converter)


@pytest.mark.parametrize("runtime", ["tf.function", "litert"])
def test_nothing_comes_after_a_quantisation(runtime: Runtime) -> None:
    """Rounded weights cannot be trained on, so the order is refused, naming both."""
    with pytest.raises(UsageError, match=r"Quantisation\(int8\) is followed by NeuronPruning"):
        split_steps((Quantisation(), NeuronPruning(0.5)), runtime)
