"""The table of the kinds of targets that are compiled, or called in a framework's own way.

Each kind is a module. None imports a framework that the user has not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_dlperf.targets import jax_functions, keras, onnx, torch_modules

if TYPE_CHECKING:
    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.targets.compiled import CompiledTarget
    from pytest_dlperf.trees import Rows


class Kind(Protocol):
    """What a module of the table has; raises as `targets.target.prepare` does."""

    def recognises(self, target: object) -> bool:
        """Whether a target is of this kind."""
        ...

    def name_of(self, target: Any) -> str:  # noqa: ANN401 - of any framework
        """A target in words."""
        ...

    def devices_here(self) -> tuple[str, ...]:
        """The framework's devices, such as `cpu:0`."""
        ...

    def batch_size(self, target: Any) -> int | None:  # noqa: ANN401 - of any framework
        """The only batch size that it takes; None if it takes any."""
        ...

    def compile_target(
        self,
        target: Any,  # noqa: ANN401 - of any framework
        sample: Rows,
        plan: Plan,
        clock: Clock,
        device: str | None,
    ) -> CompiledTarget:
        """Place a target on a device, None for its own, ready to be called."""
        ...


_TABLE: Final[tuple[Kind, ...]] = (jax_functions, torch_modules, keras, onnx)


def kind_of_target(target: object) -> Kind | None:
    """The kind of a target; None for callables, servers and objects with a method `infer`."""
    return next((kind for kind in _TABLE if kind.recognises(target)), None)
