"""What users put anywhere, as JSON can hold it."""

from __future__ import annotations

import json

import numpy as np

from pytest_dlperf._values import plain_values, short_values


def test_parameters_stay_short() -> None:
    """Numbers and texts stay; of an array with a million numbers there is a line."""
    found = short_values(
        {"a": 1, "b": "text", "c": None, "d": np.zeros(1_000_000), "e": list(range(10**5))}
    )

    assert {name: found[name] for name in "abc"} == {"a": 1, "b": "text", "c": None}
    assert len(json.dumps(found)) < 300


def test_extra_information_stays_whole() -> None:
    """What JSON knows stays; what it does not know is text, also what contains itself."""
    ring: list[object] = []
    ring.append(ring)
    values = {"a": {"b": [1, 2.5, None]}, 3: {4}, "c": ring, "d": {("k",): 1}}

    found = plain_values(values)  # type: ignore[arg-type]

    assert found["a"] == {"b": [1, 2.5, None]}
    assert found["3"] == "{4}"
    assert isinstance(found["c"], str)
    assert found["d"] == {}
    json.dumps(found)
