"""The same target for the peers: one call with a full batch."""

# ruff: noqa: ANN001, ANN201 - as users write it

from target import Classifier, pixels


def test_speed(benchmark):
    """A full batch of 64."""
    target, batch = Classifier(), pixels(64)
    for _ in range(200):
        target.infer(batch)
    benchmark(target.infer, batch)
