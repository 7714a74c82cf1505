"""Fixtures of the tests of tuning."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the garbage collection before each load.

    On a fake clock it changes nothing, and in a process that has imported TensorFlow it takes
    most of a second.
    """
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
