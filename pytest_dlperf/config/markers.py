"""Markers: what tests are marked with."""

from __future__ import annotations

from typing import Final

MEASURES: Final = "dlperf"
"""The marker of a test that measures."""

TUNES: Final = "dlperf_sweep"
"""The marker of a test that tunes."""
