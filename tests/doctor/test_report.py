"""A checkup as text and as plain values."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from pytest_dlperf.doctor.checkup import Checkup
from pytest_dlperf.doctor.detectable_loss import DetectableLoss, PairSeconds, TimeToFind
from pytest_dlperf.doctor.noise_measurement import Host, Timer
from pytest_dlperf.doctor.pair_noise import PairNoise
from pytest_dlperf.doctor.report import doctor_json, doctor_lines

FIVE = math.log(1.05)
CHECKUP = Checkup(
    host=Host(
        cpu="Test CPU",
        processors=4,
        cores=2,
        quota=1.5,
        load=0.25,
        governors=("powersave", "schedutil"),
        turbo=True,
        accelerators="",
    ),
    timer=Timer(step=4e-8, late=5e-5, late_p99=2e-3),
    stolen=0.0312,
    others=None,
    spawned="",
    gains=False,
    pair_seconds=PairSeconds(first=7.25, further=0.61, measuring=0.53),
    noise=PairNoise(
        pairs=12,
        blocks=252,
        slot_seconds=0.005,
        block_noise=math.log(1.021),
        block_error=math.log(1.006),
        deviation=math.log(1.0195),
        deviation_high=math.log(1.03),
        mean=math.log(0.9988),
        mean_error=0.0055,
        mean_reach=math.log(1.017),
    ),
    detectable=(
        DetectableLoss(5.0, 0, None, None),
        DetectableLoss(10.0, 3, math.log(1.092), math.log(1.151)),
        DetectableLoss(60.0, 46, math.log(1.021), math.log(1.032)),
    ),
    times=(TimeToFind(FIVE, 8, 16.2), TimeToFind(math.log(1.03), 13, 21.4)),
    advice=("change " + "this and that and " * 12, "change the other thing"),
    seconds=36.4,
)


def words(checkup: Checkup) -> str:
    """The report on one line, blanks as one."""
    return " ".join(" ".join(doctor_lines(checkup, colour=False)).split())


@pytest.mark.parametrize(
    "text",
    [
        "Test CPU: 2 of 4 processors, quota 1.5, load 0.25 before",
        "governor powersave, schedutil, turbo on",
        "host 3.1 %, other processes unknown of the processors",
        "steps of 40 ns; a sleep of 1 ms ends 50 us late, one in a hundred 2 ms",
        "forked from a process that has imported TensorFlow: the first pair takes 7.25 s, each",
        "takes 7.25 s, each further one 610 ms",
        "gains nothing from more than one: both sides of a pair are kept on one",
        "21 blocks of four slots of 5 ms in 530 ms; one varies by 2.10 %, their median by 0.60 %",
        "12 pairs of identical code have a standard deviation of 1.95 % (95 % sure: below 3.00 %)",
        "and a mean of -0.12 % +- 1.70 %: 0 is within it",
        "95 % power at 1 % false alarms",
        "wall time pairs loss if pairs vary by 3.00 %",
        "5 s 0 - - 10 s 3 9.2 % 15.1 % 1 min 46 2.1 % 3.2 %",
        "a loss of 5.0 % takes 16.2 s (8 pairs); a loss of 3.0 % takes 21.4 s (13 pairs)",
        "- change the other thing",
        "measured in 36 s",
    ],
)
def test_text(text: str) -> None:
    """Every value is there, with its unit."""
    assert text in words(CHECKUP)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"spawned": "numpy cannot be imported"}, "as new programs (numpy cannot be imported)"),
        ({"gains": True}, "the model gains from more than one: both sides of a pair have all"),
        ({"gains": None}, "processors there is no choice: both sides of a pair have all"),
        (
            {"noise": replace(CHECKUP.noise, mean=math.log(1.02))},
            "a mean of +2.00 % +- 1.70 %: 0 is NOT within it",
        ),
        ({"times": (TimeToFind(FIVE, None, None),)}, "a loss of 5.0 % is not found by a thousand"),
        ({"advice": ()}, "nothing that was measured needs a change"),
        ({"host": replace(CHECKUP.host, governors=())}, "governor not shown, turbo on"),
        ({"host": replace(CHECKUP.host, turbo=None)}, "schedutil, turbo not shown"),
        ({"host": replace(CHECKUP.host, quota=None)}, "no quota"),
    ],
)
def test_other_machines(change: dict[str, object], text: str) -> None:
    """What is otherwise, or unknown, is said."""
    assert text in words(replace(CHECKUP, **change))  # type: ignore[arg-type]  # fields by name
    assert text not in words(CHECKUP)


def test_lines_fit() -> None:
    """No line is longer than 80 columns, none ends in blanks; advice is indented as a list."""
    lines = doctor_lines(CHECKUP, colour=False)

    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    first = next(number for number, line in enumerate(lines) if line.startswith("- change this"))
    assert lines[first + 1].startswith("  ")


def test_colour() -> None:
    """Without it there is no escape sequence."""
    assert not any("\x1b" in line for line in doctor_lines(CHECKUP, colour=False))


def test_plain_values() -> None:
    """The JSON has a schema and every field as plain values."""
    values = json.loads(json.dumps(doctor_json(CHECKUP), allow_nan=False))

    assert values["schema"] == 2
    assert values["noise"]["deviation"] == CHECKUP.noise.deviation
    assert values["noise"]["pairs"] == 12
    assert values["pair_seconds"] == {"first": 7.25, "further": 0.61, "measuring": 0.53}
    assert values["detectable"][0]["loss"] is None
    assert values["detectable"][2]["loss_at_most"] == math.log(1.032)
    assert values["times"][0] == {"loss": FIVE, "pairs": 8, "seconds": 16.2}
    assert values["host"]["turbo"] is True
    assert values["others"] is None
