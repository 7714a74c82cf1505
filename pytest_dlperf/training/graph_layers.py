"""Graph layers as values: normalisation and augmentation in front of a model, in its graph."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Protocol, Self, get_args

from pytest_dlperf._values import Described, as_number, check_choice, check_count, check_number
from pytest_dlperf.data.normalisation import Kind
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import DataclassInstance


_LARGEST_ID: Final = 2**24  # float32 has every whole number up to there


@dataclass(frozen=True, slots=True)
class InGraphNormalisation(Described):
    """`Normalisation` as a layer of the model, so that requests carry raw rows.

    Attributes:
        kind: `standard`, `min-max` or `none`, as in `Normalisation`.
    """

    kind: Kind = "standard"

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_choice(self.kind, get_args(Kind), "InGraphNormalisation(kind)")


class Augmentation:
    """Random changes of the training rows; requests are answered as without it.

    Made by `Augmentation.image(...)`, `Augmentation.text(...)` or `Augmentation.noise(...)`.
    """

    __slots__ = ()

    def __new__(cls, *_arguments: object, **_named: object) -> Self:
        """Refuse to make the base class."""
        __tracebackhide__ = True
        if cls is Augmentation:
            raise UsageError(
                "Augmentation(...) does not say of what",
                "Augmentation.image(...), Augmentation.text(...) or Augmentation.noise(...)",
            )
        return super().__new__(cls)

    @staticmethod
    def image(
        *,
        shift: float = 0.0,
        rotation: float = 0.0,
        zoom: float = 0.0,
        shape: Sequence[int] | None = None,
    ) -> ImageAugmentation:
        """Shift, rotate and zoom images at random, uniformly within limits.

        Args:
            shift: at most this share of height and width, each way.
            rotation: at most this share of a full turn, each way.
            zoom: at most this share larger or smaller.
            shape: `(height, width)` or `(height, width, channels)` of flat rows; None if the rows
                have this shape.

        Raises:
            UsageError: if a limit is below 0 or not below 1, all are 0, or the shape is wrong.
        """
        __tracebackhide__ = True
        return ImageAugmentation(shift, rotation, zoom, None if shape is None else tuple(shape))

    @staticmethod
    def text(*, dropout: float, unknown: int = 1) -> TextAugmentation:
        """Replace words of texts at random ("word dropout", Iyyer et al. 2015).

        Args:
            dropout: share of token ids that are replaced; the padding id 0 stays.
            unknown: the replacement; 1 is "unknown" in Keras' `TextVectorization`.

        Raises:
            UsageError: if the share is not above 0 and below 1, or the id is no token id.
        """
        __tracebackhide__ = True
        return TextAugmentation(dropout, unknown)

    @staticmethod
    def noise(*, deviation: float) -> NoiseAugmentation:
        """Add normal noise to every feature.

        Args:
            deviation: its standard deviation, above 0, in the unit of the rows that reach the
                layer; after `Normalisation`, in standard deviations of the feature.
        """
        __tracebackhide__ = True
        return NoiseAugmentation(deviation)


@dataclass(frozen=True, slots=True, repr=False)
class ImageAugmentation(Augmentation):
    """See `Augmentation.image`."""

    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        limits = {name: getattr(self, name) for name in ("shift", "rotation", "zoom")}
        for name, limit in limits.items():
            _check_share(limit, f"Augmentation.image({name})", "at least 0")
            object.__setattr__(self, name, float(limit))
        if not any(limits.values()):
            raise UsageError(
                "Augmentation.image() changes nothing", "give shift=, rotation= or zoom="
            )
        if self.shape is None:
            return
        if len(self.shape) not in {2, 3}:
            raise UsageError(
                f"Augmentation.image(shape={self.shape!r:.80})",
                "expected (height, width) or (height, width, channels)",
            )
        for length in self.shape:
            check_count(length, "Augmentation.image(shape)")
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))

    def __repr__(self) -> str:
        return _as_call("image", self)


@dataclass(frozen=True, slots=True, repr=False)
class TextAugmentation(Augmentation):
    """See `Augmentation.text`."""

    dropout: float
    unknown: int = 1

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        _check_share(self.dropout, "Augmentation.text(dropout)", "above 0")
        object.__setattr__(self, "dropout", float(self.dropout))
        number = as_number(self.unknown)
        if not 0 <= number <= _LARGEST_ID or not number.is_integer():
            raise UsageError(
                f"Augmentation.text(unknown={self.unknown!r:.80})",
                f"expected a token id, from 0 to {_LARGEST_ID:,}",
            )
        object.__setattr__(self, "unknown", int(self.unknown))

    def __repr__(self) -> str:
        return _as_call("text", self)


@dataclass(frozen=True, slots=True, repr=False)
class NoiseAugmentation(Augmentation):
    """See `Augmentation.noise`."""

    deviation: float

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_number(self.deviation, "Augmentation.noise(deviation)", above=0)
        object.__setattr__(self, "deviation", float(self.deviation))

    def __repr__(self) -> str:
        return _as_call("noise", self)


def _check_share(value: object, what: str, least: str) -> None:
    __tracebackhide__ = True
    share = as_number(value)
    if not 0 <= share < 1 or (least == "above 0" and share == 0):
        raise UsageError(f"{what}={value!r:.80}", f"expected a number {least} and below 1")


def _as_call(kind: str, value: DataclassInstance) -> str:
    # As in the user's code: the classes have no public name.
    values = ((field, getattr(value, field.name)) for field in fields(value))
    arguments = [f"{field.name}={each!r}" for field, each in values if each != field.default]
    return f"Augmentation.{kind}({', '.join(arguments)})"


class GraphLayer(Protocol):
    """Normalisation or augmentation; different layers have different `str()`."""
