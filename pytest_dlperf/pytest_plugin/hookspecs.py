"""Hooks that a conftest or another plugin may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.tuning.configuration import Knob


@pytest.hookspec
def pytest_dlperf_knobs(config: pytest.Config) -> Iterable[Knob]:  # type: ignore[empty-body]  # pluggy never calls it
    """Knobs of your own, which `@pytest.mark.dlperf_sweep(..., knobs=("name",))` may name.

    A knob with the name of a built-in one replaces it. Called once, if a test is to be tuned.
    """
