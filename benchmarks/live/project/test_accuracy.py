"""The other question: how many answers are right."""

# ruff: noqa: ANN001, ANN201 - as users write it

import pytest
from classifier import held_out, infer


@pytest.mark.dlperf("accuracy >= baseline")
def test_accuracy(dlperf):
    """No answer is lost."""
    dlperf(infer, held_out())
