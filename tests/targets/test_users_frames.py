"""Errors of targets keep the frames of their authors' code, and no others."""

from __future__ import annotations

import json
import traceback
from typing import Any

import numpy as np

from pytest_dlperf.errors import message_of
from pytest_dlperf.targets.users_frames import cause_in_users_code, is_users


def _own(text: str) -> Any:  # noqa: ANN401 - as json
    return json.loads(text)


def _raised(function: Any, *arguments: object) -> Exception:  # noqa: ANN401 - any function
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - any
        return error
    raise AssertionError


def test_frames_of_libraries_are_left_out() -> None:
    """The user's function is shown, what it calls in the standard library is not."""
    error = _raised(_own, "{")
    everything = traceback.extract_tb(error.__traceback__)

    cause = cause_in_users_code(error)

    assert cause is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names == ["_raised", "_own"]
    assert len(everything) > len(names)


def test_an_error_that_a_library_translates() -> None:
    """Only the last one is shown: what it was made from is the library's business."""

    def translating() -> None:
        try:
            json.loads("{")
        except ValueError as error:
            raise TypeError("the library's words") from error

    cause = cause_in_users_code(_raised(translating))

    assert cause is not None
    assert (cause.__cause__, cause.__suppress_context__) == (None, True)


def test_no_frame_of_the_users() -> None:
    """Data that a built-in layer refuses has a message, and no cause."""
    try:
        json.loads("{")
    except ValueError as error:
        inside = error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    assert cause_in_users_code(inside) is None


def test_whose_code_it_is() -> None:
    """By its file."""
    assert is_users(__file__)
    assert not is_users(np.__file__)
    assert not is_users(json.__file__)
    assert not is_users("<string>")
    assert not is_users("/tmp/__autograph_generated_filew2vl.py")  # noqa: S108 - never opened
    assert not is_users(is_users.__code__.co_filename)


def test_a_message_in_one_line() -> None:
    """Without colours of Keras, and the names that TensorFlow gives to parts of a graph."""
    gather = "{{function_node __inference_<lambda>_59}} indices[0,0] = 9 is not in [0, 5)"
    node = "\n\t [[{{node embedding/GatherV2}}]] [Op:__inference_<lambda>_59]"

    assert message_of(ValueError(gather + node)) == "ValueError: indices[0,0] = 9 is not in [0, 5)"
    assert message_of(ValueError("\x1b[1mInput 0\x1b[0m\n wrong")) == "ValueError: Input 0 wrong"
