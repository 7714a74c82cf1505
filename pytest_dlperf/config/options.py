"""Options: a dataclass whose fields are command-line options, ini keys and marker arguments.

Every field defaults to None, which means "not given here"; `overlay` combines the layers, nearest
first.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from pytest_dlperf.config.baseline_source import FILES, BaselineSource
from pytest_dlperf.config.option_values import PARSERS, check_not_empty
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import ClosedLoop, Scenario
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.results.verdict import Leniency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_dlperf.config.detect import Detect
    from pytest_dlperf.load.answer_layout import Output


Update: TypeAlias = Literal["new", "improved", "all"]
Escalate: TypeAlias = Literal["auto", "never", "always"]
"""What of a stored baseline's verdicts is looked at again."""
BaseBroken: TypeAlias = Literal["fail", "warn"]
Clients: TypeAlias = Literal["virtual", "threads", "async"]
Task: TypeAlias = Literal["classification", "binary", "multilabel", "regression"]
"""What a model is for."""
Kind: TypeAlias = Literal["text", "texts", "flag", "value"]


PREFIX: Final = "--dlperf-"
"""Of options on the command line."""
MEASURES: Final = "dlperf"
"""The marker of a test that measures."""
TUNES: Final = "dlperf_sweep"
"""The marker of a test that tunes."""


@dataclass(frozen=True, slots=True)
class Spec:
    """How one option can be given.

    Attributes:
        help: one sentence for `--help` and `--markers`.
        kind: `texts` may be repeated; a `value` is a Python object, only of a marker or a call.
        choices: the allowed texts; empty allows all.
        marker: whether the marker takes it.
        bare: the value of the option without one; empty if it needs one.
    """

    help: str
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    marker: bool = False
    bare: str = ""


def _spec(text: str, kind: Kind = "text", choices: tuple[str, ...] = ()) -> dict[str, Spec]:
    return {"spec": Spec(text, kind, choices)}


def _marker(text: str, kind: Kind = "text", choices: tuple[str, ...] = ()) -> dict[str, Spec]:
    return {"spec": Spec(text, kind, choices, marker=True)}


@dataclass(frozen=True, slots=True)
class Options:
    """All options of a test and of a run; their `Spec` describes them, see `specs`."""

    budgets: tuple[str, ...] | None = field(
        default=None, metadata=_marker("a budget such as 'p99 <= 20ms'", "texts")
    )
    scenario: Scenario | None = field(
        default=None, metadata=_marker("the traffic; default ClosedLoop(clients=64)", "value")
    )
    serving: Serving | None = field(
        default=None, metadata=_marker("batching and replicas; default Serving()", "value")
    )
    clients: Clients | None = field(
        default=None,
        metadata=_marker(
            "virtual (default), or real ones for callables that take one request: threads, async",
            choices=get_args(Clients),
        ),
    )
    task: Task | None = field(
        default=None,
        metadata=_marker(
            "what labels and answers are for, where both leave it open: classification, binary, "
            "multilabel, regression",
            choices=get_args(Task),
        ),
    )
    output: Output | None = field(
        default=None,
        metadata=_marker(
            "which of several outputs is scored: its path, such as 'scores' or 'heads.0', or a "
            "function of all of them",
            "value",
        ),
    )
    allow_nan: bool | None = field(
        default=None,
        metadata=_marker("whether inputs may have values that are not finite", "value"),
    )
    duration: float | None = field(
        default=None, metadata=_marker("how long each measurement lasts; default 5s")
    )
    slo: float | None = field(
        default=None,
        metadata=_marker("latency within which an answer counts towards goodput, such as 20ms"),
    )
    call_timeout: float | None = field(
        default=None,
        metadata=_marker("a call of the target that takes longer has hung; default 60s"),
    )
    devices: tuple[str, ...] | None = field(
        default=None,
        metadata=_marker(
            "run each test once on each of these devices: cpu, gpu, all, or names such as "
            "cpu:0,gpu:1"
        ),
    )
    detect: tuple[Detect, ...] | None = field(
        default=None,
        metadata=_marker(
            "losses that relative budgets must find, such as 'throughput 3%, accuracy 0.5pt'; "
            "default 5% for speeds, 10% for p95, 25% for p99, 1pt for accuracy"
        ),
    )
    missing: Leniency | None = field(
        default=None,
        metadata=_marker(
            "a relative budget without a baseline: pass (default), warn or fail",
            choices=get_args(Leniency),
        ),
    )
    inconclusive: Leniency | None = field(
        default=None,
        metadata=_marker(
            "a budget that the noise leaves open: pass, warn (default) or fail",
            choices=get_args(Leniency),
        ),
    )
    base_broken: BaseBroken | None = field(
        default=None,
        metadata=_marker(
            "a test that exists at the base of --dlperf-against and could not be measured there: "
            "fail (default) or warn; the verdict is INCONCLUSIVE",
            choices=get_args(BaseBroken),
        ),
    )
    devices_required: bool | None = field(
        default=None,
        metadata=_spec("fail tests on a device that is not here, instead of skipping them", "flag"),
    )
    logical_cpus: int | None = field(
        default=None,
        metadata=_spec(
            "split the CPU into this many devices of TensorFlow (they share its threads), to try "
            "code for several devices on any machine"
        ),
    )
    against: str | None = field(
        default=None,
        metadata=_spec(
            "measure in turn with this commit, branch or tag (or A...B, their merge base), which "
            "is then the baseline"
        ),
    )
    against_install: str | None = field(
        default=None,
        metadata=_spec(
            "give each side of --dlperf-against an environment of its own, made by this command "
            "in its tree, such as 'pip install -e .'"
        ),
    )
    against_python: str | None = field(
        default=None,
        metadata=_spec("run the base of --dlperf-against with this interpreter"),
    )
    against_carry: tuple[str, ...] | None = field(
        default=None,
        metadata=_spec(
            "copy this file or folder, which git does not track, into the base's tree of "
            "--dlperf-against; a path or a pattern such as 'data/*.npy', relative to --rootdir",
            "texts",
        ),
    )
    budget_time: float | None = field(
        default=None,
        metadata=_marker("the most seconds that --dlperf-against measures a test; default 60s"),
    )
    seed: int | None = field(
        default=None,
        metadata=_spec("of the coins that --dlperf-against throws; default: drawn, and printed"),
    )
    escalate: Escalate | None = field(
        default=None,
        metadata={
            "spec": Spec(
                "look again at a loss of speed since a stored baseline, in turn with its commit "
                "or else in a fresh process, and judge by that: auto (default; what is "
                "suspected), always (also what the noise leaves open; the option alone means "
                "that) or never (leave it open)",
                choices=get_args(Escalate),
                bare="always",
            )
        },
    )
    baseline: BaselineSource | None = field(
        default=None,
        metadata=_spec(
            "where baselines come from: files (default; accepted ones), history:BRANCH (the last "
            "sessions on a branch) or history:merge-base (those on the commit where this branch "
            "left the default branch and on the commits before it; on the default branch itself "
            "that commit is the present one, so that a repeated run is compared with the first)"
        ),
    )
    history: str | None = field(
        default=None,
        repr=False,  # it may hold a password
        metadata=_spec(
            "the database that every run is recorded in, as SQLAlchemy's URL (sqlite:///FILE, "
            "postgresql://USER@HOST/DATABASE), or none; default: the environment variable "
            "DLPERF_HISTORY, which also keeps a password out of command lines and ini files, else "
            ".dlperf/history.sqlite"
        ),
    )
    update: Update | None = field(
        default=None,
        metadata=_spec(
            "write baselines: new (where there is none), improved (also where clearly better) "
            "or all (accept everything)",
            choices=get_args(Update),
        ),
    )
    update_in_ci: bool | None = field(
        default=None,
        metadata=_spec("let --dlperf-update write baselines although CI is set", "flag"),
    )
    quick: bool | None = field(
        default=None,
        metadata=_spec(
            "smoke run: measure for an instant, judge only errors and absolute budgets on answers",
            "flag",
        ),
    )
    json: str | None = field(
        default=None, metadata=_spec("write all measurements and verdicts to this file")
    )
    metrics: str | None = field(
        default=None,
        metadata=_spec(
            "write all metrics to this file as OpenMetrics text, for GitLab's metrics report and "
            "Prometheus' textfile collector"
        ),
    )
    only: bool | None = field(default=None, metadata=_spec("run only tests that measure", "flag"))
    skip: bool | None = field(
        default=None, metadata=_spec("run only tests that do not measure", "flag")
    )


DEFAULTS: Final = Options(
    budgets=(),
    scenario=ClosedLoop(clients=64),
    serving=Serving(),
    clients="virtual",
    allow_nan=False,
    duration=5.0,
    call_timeout=60.0,
    detect=(),
    budget_time=60.0,
    baseline=FILES,
    missing="pass",
    inconclusive="warn",
    base_broken="fail",
    devices_required=False,
    escalate="auto",
    update_in_ci=False,
    quick=False,
    only=False,
    skip=False,
)


def specs() -> dict[str, Spec]:
    """The table of options, by field name."""
    return {field.name: field.metadata["spec"] for field in dataclasses.fields(Options)}


def option_string(name: str) -> str:
    """An option on the command line, such as `--dlperf-update-in-ci`, by field name."""
    return PREFIX + name.replace("_", "-")


def overlay(layers: Iterable[Options]) -> Options:
    """The nearest value of each field; layers come nearest first."""
    layers = tuple(layers)
    names = [field.name for field in dataclasses.fields(Options)]
    return Options(
        **{
            name: next((v for layer in layers if (v := getattr(layer, name)) is not None), None)
            for name in names
        }
    )


def from_texts(
    texts: Mapping[str, object], spelling: Callable[[str], str] = option_string
) -> Options:
    """Options of the command line or an ini file, by field name.

    None and a flag that is off mean not given. `spelling` of an option's name is for messages.

    Raises:
        UsageError: for a value that is not allowed, or empty.
    """
    given = {name: value for name, value in texts.items() if value not in (None, False)}
    for name, value in given.items():
        check_not_empty(value, spelling(name))
    return _checked(given, spelling)


def from_marker(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Options:
    """Options from the arguments of one `@pytest.mark.dlperf(...)`.

    Raises:
        UsageError: for an unknown argument or a value that is not allowed.
    """
    allowed = [name for name, spec in specs().items() if spec.marker and name != "budgets"]
    unknown = sorted(set(kwargs) - set(allowed))
    if unknown:
        raise UsageError(
            f"the dlperf marker takes no argument {unknown[0]!r}",
            f"it takes budgets and {', '.join(allowed)}",
        )
    wrong = [arg for arg in args if not isinstance(arg, str)]
    if wrong:
        raise UsageError(
            f"the dlperf marker takes budgets as text, not {wrong[0]!r}",
            "such as 'p99 <= 20ms'; scenario=, serving= and the like by name",
        )
    given = {**kwargs, **({"budgets": args} if args else {})}
    options = _checked(given, lambda name: name)
    if options.devices and options.serving and options.serving.devices:
        raise UsageError(
            "the dlperf marker names devices twice, in devices= and in Serving(devices)",
            "devices= makes one test a device, Serving(devices) uses all of them in one test",
        )
    return options


def from_call(**given: object) -> Options:
    """Options from the arguments of one `dlperf(...)`; None means not given.

    Raises:
        UsageError: for a value that is not allowed.
    """
    __tracebackhide__ = True
    return _checked({k: v for k, v in given.items() if v is not None}, lambda name: name)


def _checked(given: Mapping[str, object], spelling: Callable[[str], str]) -> Options:
    values: dict[str, Any] = {}
    for name, value in given.items():
        spec, spelt = specs()[name], spelling(name)
        if spec.choices and value not in spec.choices:
            hint = f"one of {', '.join(spec.choices)}"
            if spec.bare:
                hint = f"{hint}; alone and before a path: {spelt}={spec.bare}"
            if name == "clients" and isinstance(value, int):
                hint = f"{hint}; how many there are: scenario=ClosedLoop(clients={value})"
            raise UsageError(f"{spelt}={value!r}", hint)
        if name in PARSERS:
            values[name] = PARSERS[name](value, spelt)
        elif name == "scenario" and not isinstance(value, Scenario):
            example = ClosedLoop(clients=64)
            raise UsageError(f"{spelt}={value!r} is no scenario", f"such as {example}")
        elif name == "serving" and not isinstance(value, Serving):
            raise UsageError(f"{spelt}={value!r}", "expected Serving(...)")
        elif spec.kind == "texts":
            values[name] = tuple(value)  # type: ignore[arg-type]  # pytest gives lists of text
        else:
            values[name] = value
    return Options(**values)
