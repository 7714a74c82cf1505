"""Files that keep the pair effects of the duels of each measurement on this machine."""

from __future__ import annotations

import hashlib
import json
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._files import locked, write_atomically
from pytest_dlperf.duel.questions import NO_EVIDENCE, EarlierEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SCHEMA: Final = 2
_MOST_DUELS: Final = 40  # of a measurement; the oldest go first


class PairEffectCache:
    """Log ratios of the pairs of earlier duels: a file for each measurement.

    A run that is repeated without a change of the code is not a new chance to pass: it continues
    from the pairs that were measured before. Duels of other versions show how much pairs of this
    test differ. A file that cannot be read counts as absent, since it is a cache of this machine,
    not an accepted baseline.

    Args:
        folder: of caches; None keeps nothing.
        machine: identifiers of the machine and its software.
        versions: identifiers of both versions of the code.
        warn: takes a sentence if the pairs cannot be kept.
    """

    def __init__(
        self,
        folder: Path | None,
        machine: tuple[str, ...] = (),
        versions: tuple[str, ...] = (),
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = None if folder is None else folder / _digest(*machine)
        self._versions = _digest(*versions)
        self._warn = warn
        self._has_warned = False

    def recall(self, test: str, name: str) -> EarlierEvidence:
        """What earlier duels of a measurement have shown."""
        if self._folder is None:
            return NO_EVIDENCE
        duels = _read(self._folder / _file(test, name))
        repeated: dict[str, tuple[float, ...]] = {}
        for versions, effects in duels:
            if versions == self._versions:
                for text, of_pairs in effects.items():
                    repeated[text] = (*repeated.get(text, ()), *of_pairs)
        others = tuple(effects for versions, effects in duels if versions != self._versions)
        return EarlierEvidence(MappingProxyType(repeated), others)

    def names(self, test: str) -> frozenset[str]:
        """The names of the measurements of a test that earlier duels made."""
        if self._folder is None:
            return frozenset()
        found = map(_content, self._folder.glob(f"{_digest(test)}-*.json"))
        return frozenset(str(content["name"]) for content in found if "name" in content)

    def add(self, test: str, name: str, effects: Mapping[str, tuple[float, ...]]) -> None:
        """Append those of another duel; warns once where nothing can be written."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(self._folder):
                path = self._folder / _file(test, name)
                duels = [*_read(path), (self._versions, effects)][-_MOST_DUELS:]
                content = {"schema": _SCHEMA, "test": test, "name": name, "duels": duels}
                write_atomically(path, json.dumps(content, indent=1, default=dict).encode())
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(
                    f"a duel that is repeated does not continue from this one: {self._folder} "
                    f"cannot be written: {error.strerror or error}"
                )


def _content(path: Path) -> Mapping[str, Any]:
    """What a file holds; nothing if it is damaged or of another schema."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    known = isinstance(content, dict) and content.get("schema") == _SCHEMA
    return content if known else {}


def _read(path: Path) -> list[tuple[str, Mapping[str, tuple[float, ...]]]]:
    try:
        duels = _content(path).get("duels", [])
        return [(str(versions), _effects(effects)) for versions, effects in duels]
    except (ValueError, TypeError, AttributeError):
        return []


def _effects(written: Mapping[str, Any]) -> Mapping[str, tuple[float, ...]]:
    effects_of = {
        str(text): tuple(float(effect) for effect in effects) for text, effects in written.items()
    }
    if not all(math.isfinite(effect) for effects in effects_of.values() for effect in effects):
        raise ValueError("an effect is not finite")
    return MappingProxyType(effects_of)


def _file(test: str, name: str) -> str:
    return f"{_digest(test)}-{_digest(name)}.json"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
