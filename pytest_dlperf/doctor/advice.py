"""Advice: what to change on a machine, each only where its cause was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.doctor.detectable_loss import POWER, SECONDS, loss_by_pair_effects
from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.report.hints import loss_found_by_pairs
from pytest_dlperf.results.usage import disturbance
from pytest_dlperf.statistics.e_process import smallest_loss
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.doctor.noise_measurement import NoiseMeasurement

_STOLEN: Final = 0.02
_OTHERS: Final = 0.1
_LATE: Final = 0.25e-3
_LATE_P99: Final = 2e-3
_TWO: Final = 2
_MOST_PAIRS: Final = 8
_WANDERING: Final = frozenset({"powersave", "ondemand", "conservative", "schedutil"})


def advice(figures: NoiseMeasurement, noise_figure: float, spread: float) -> Iterator[str]:
    """Sentences, the most important cause first.

    Args:
        figures: of the machine.
        noise_figure: S of the slot length to use, in seconds.
        spread: standard deviation of what pairs surely differ by, as a log ratio; 0 if they may
            not differ at all.
    """
    host, timer = figures.host, figures.timer
    stolen, others = figures.used.stolen_share, figures.used.others_share
    if stolen is not None and stolen > _STOLEN:
        yield (
            f"the host took {_percent(stolen)} of the processors: take a machine "
            "whose processors are its own, or another time of the day"
        )
    if others is not None and others > _OTHERS:
        yield (
            f"other processes took {_percent(others)} of the processors: stop them while tests "
            "measure, and run this again; the noise and the launches above are partly theirs"
        )
    if timer.late > _LATE or timer.late_p99 > _LATE_P99:
        yield (
            f"a sleep of 1 ms ends {format_quantity(timer.late, 's')} late, one in a hundred "
            f"{format_quantity(timer.late_p99, 's')}: open loops send late; run less beside the "
            "tests, and keep the processors out of deep idle states"
        )
    wandering = sorted(_WANDERING & set(host.governors))
    if wandering:
        yield (
            f"the frequency governor is {', '.join(wandering)}: with performance the speed "
            "wanders less (cpupower frequency-set --governor performance)"
        )
    if host.turbo:
        yield (
            "turbo is on, so that the speed depends on heat and on the other cores: switch it off "
            "while tests measure (intel_pstate/no_turbo or cpufreq/boost in "
            "/sys/devices/system/cpu)"
        )
    usable = host.cores if host.quota is None else min(host.cores, host.quota)
    if usable < _TWO:
        yield (
            f"of processors there is {usable:.3g} to use: with two, whatever else must run does "
            "not have to take its time from the model"
        )
    # What others took may be all that pairs seem to differ by.
    if not disturbance(figures.used):
        yield from _more_pairs(noise_figure, spread)
    if host.accelerators:
        yield (
            f"there is a GPU ({host.accelerators}), but all of this was measured on the CPU: "
            "launches and hand-overs on the GPU may differ by more or less"
        )


def _more_pairs(noise_figure: float, spread: float) -> Iterator[str]:
    """Where launches, not seconds, say what is found: how many pairs make up for it."""
    seconds = SECONDS[1]
    blocks = smallest_loss(seconds, noise_figure, ALPHA, POWER)
    if loss_by_pair_effects(spread, 1) <= blocks:
        return
    counts = range(_TWO, _MOST_PAIRS + 1)
    enough = next(
        (one for one in counts if loss_by_pair_effects(spread, one) <= blocks), _MOST_PAIRS
    )
    one, many = (
        math.expm1(math.hypot(blocks, loss_by_pair_effects(spread, count))) for count in (1, enough)
    )
    yield (
        f"pairs of processes differ by {_percent(math.expm1(spread))}, which no further second of "
        f"the same pair takes away: {loss_found_by_pairs(enough, _percent(many))} in "
        f"{seconds:.0f} s, one pair {_percent(one)}"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
