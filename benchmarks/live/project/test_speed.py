"""The question that the duel is asked."""

# ruff: noqa: ANN001, ANN201 - as users write it

import pytest
from target import Classifier, pixels


@pytest.mark.dlperf("throughput >= baseline")
def test_speed(dlperf):
    """No request takes longer than before."""
    dlperf(Classifier().infer, (pixels(1024), None))
