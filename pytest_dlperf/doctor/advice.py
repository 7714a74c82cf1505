"""What to change on a machine; each piece of advice only if its cause was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.doctor.detectable_loss import POWER, SECONDS, loss_by_pair_effects
from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.report.hints import loss_found_by_pairs
from pytest_dlperf.results.usage import disturbance
from pytest_dlperf.statistics.e_process import smallest_loss
from pytest_dlperf.units import format_percent, format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.doctor.noise_measurement import NoiseMeasurement

_STOLEN: Final = 0.02
_OTHERS: Final = 0.1
_LATE: Final = 0.25e-3
_LATE_P99: Final = 2e-3
_ENOUGH_PROCESSORS: Final = 2
_MOST_PAIRS: Final = 8
_VARYING: Final = frozenset({"powersave", "ondemand", "conservative", "schedutil"})


def advice(measurement: NoiseMeasurement, noise_figure: float, spread: float) -> Iterator[str]:
    """Sentences, the most important cause first.

    Args:
        measurement: of the machine.
        noise_figure: S of the slot length to use, in seconds.
        spread: standard deviation of the effects of pairs, as a log ratio; 0 unless they surely
            differ.
    """
    host, timer, used = measurement.host, measurement.timer, measurement.used
    stolen, others = used.stolen_share, used.others_share
    if stolen is not None and stolen > _STOLEN:
        yield (
            f"the host took {format_percent(stolen)} of the processors: use a machine "
            "with processors of its own, or another time of the day"
        )
    if others is not None and others > _OTHERS:
        yield (
            f"other processes took {format_percent(others)} of the processors: stop them while "
            "tests measure, and run this again; the noise and the launches above are partly theirs"
        )
    if timer.late > _LATE or timer.late_p99 > _LATE_P99:
        yield (
            f"a sleep of 1 ms ends {format_quantity(timer.late, 's')} late, one in a hundred "
            f"{format_quantity(timer.late_p99, 's')}: open loops send late; run fewer other "
            "processes, and keep the processors out of deep idle states"
        )
    varying = sorted(_VARYING & set(host.governors))
    if varying:
        yield (
            f"the frequency governor is {', '.join(varying)}: with performance the speed "
            "varies less (cpupower frequency-set --governor performance)"
        )
    if host.turbo:
        yield (
            "turbo is on, so that the speed depends on heat and on the other cores: switch it off "
            "while tests measure (intel_pstate/no_turbo or cpufreq/boost in "
            "/sys/devices/system/cpu)"
        )
    usable = host.cores if host.quota is None else min(host.cores, host.quota)
    if usable < _ENOUGH_PROCESSORS:
        yield (
            f"this process may use {usable:.3g} processors: with two, other processes need not "
            "take their time from the model"
        )
    # Other processes may be the only cause of what pairs differ by.
    if not disturbance(used):
        yield from _more_pairs(noise_figure, spread)
    if host.accelerators:
        yield (
            f"there is a GPU ({host.accelerators}), but all of this was measured on the CPU: "
            "launches and hand-overs on the GPU may differ by more or less"
        )


def _more_pairs(noise_figure: float, spread: float) -> Iterator[str]:
    """How many pairs to use, if their differences and not seconds limit what is detected."""
    seconds = SECONDS[1]
    blocks = smallest_loss(seconds, noise_figure, ALPHA, POWER)
    if loss_by_pair_effects(spread, 1) <= blocks:
        return
    counts = range(2, _MOST_PAIRS + 1)
    enough = next(
        (count for count in counts if loss_by_pair_effects(spread, count) <= blocks), _MOST_PAIRS
    )
    with_one, with_enough = (
        format_percent(math.expm1(math.hypot(blocks, loss_by_pair_effects(spread, count))))
        for count in (1, enough)
    )
    yield (
        f"pairs of processes differ by {format_percent(math.expm1(spread))}, which no further "
        f"second of the same pair takes away: {loss_found_by_pairs(enough, with_enough)} in "
        f"{seconds:.0f} s, one pair {with_one}"
    )
