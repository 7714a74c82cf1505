"""Devices: how they are named, and which of those that are here are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS: Final = ("cpu", "gpu")
"""What a device can be: `cpu:0` is the first of the kind `cpu`."""

_ALL: Final = "all"
_NAME: Final = re.compile(rf"{_ALL}|({'|'.join(KINDS)})(:(0|[1-9][0-9]{{0,3}}))?")


def device_names(value: object, what: str) -> tuple[str, ...]:
    """Names of devices as a user gives them, checked and in small letters.

    Args:
        value: one text, with commas between several names, or several texts.
        what: how the value is called, for messages.

    Raises:
        UsageError: for what names no device, or names one twice.
    """
    __tracebackhide__ = True
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, Iterable):
        raise UsageError(f"{what}={value!r:.80}", "expected names of devices, such as 'cpu:0'")
    names: dict[str, None] = {}
    for text in given:
        name = text.strip().lower() if isinstance(text, str) else ""
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{what}={value!r:.80}: {text!r:.40} is no device",
                f"expected {', '.join(KINDS)} or {_ALL}, or one device such as cpu:0 or gpu:1",
            )
        if name in names:
            raise UsageError(f"{what}={value!r:.80} names {name} twice")
        names[name] = None
    return tuple(names)


def explicit(names: Iterable[str]) -> bool:
    """Whether each name is one device's, so that it can be told without looking what is here."""
    return all(":" in name for name in names)


def expand(names: Iterable[str], here: Sequence[str]) -> tuple[str, ...]:
    """The single devices that are meant, each once; names that fit no device here stay.

    Args:
        names: of `device_names`; `cpu` and `gpu` mean all of a kind, `all` means all.
        here: the devices of this machine.
    """
    meant: dict[str, None] = {}
    for name in names:
        fitting = [one for one in here if name in {_ALL, one.partition(":")[0]}]
        meant.update(dict.fromkeys(fitting or [name]))
    return tuple(meant)


def absence(name: str, here: Sequence[str]) -> str:
    """That a device is not here, in words."""
    return f"there is no {name} here, only {', '.join(here)}"
