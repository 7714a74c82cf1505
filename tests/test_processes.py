"""Calls with a timeout: they return, raise, wait for ever, or loop for ever."""

from __future__ import annotations

import threading
import time

import pytest

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.errors import AnswerError


def test_a_call_that_returns() -> None:
    """Its result is the result."""
    assert call_with_timeout(60, lambda: 42) == 42


def test_a_call_that_raises() -> None:
    """Whatever it raises is raised."""

    def leave() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_with_timeout(60, leave)


def test_a_call_that_waits_for_ever() -> None:
    """The error says where the call was."""
    never = threading.Event()

    with pytest.raises(AnswerError, match=r"test_processes.py:\d+ <lambda>, threading.py:\d+ wa"):
        call_with_timeout(0.05, lambda: never.wait(600))

    never.set()


def test_a_call_that_spins_for_ever() -> None:
    """A loop of Python code is ended, so that it uses no processor any more."""
    ended = threading.Event()

    def spin() -> None:
        try:
            while True:
                time.monotonic()
        finally:
            ended.set()

    with pytest.raises(AnswerError, match="the call had not returned after 50 ms"):
        call_with_timeout(0.05, spin)

    assert ended.wait(60)
