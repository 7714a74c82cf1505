"""The files and modules that an error names."""

from __future__ import annotations

import re
from typing import Final

_QUOTED: Final = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"|`([^`\n]+)`")
_BARE: Final = re.compile(r"[\w.@+~/-]*[\w~/][\w.@+~/-]*")
_NO_MODULE: Final = re.compile(r"No module named '?([\w.]+)'?")
_NO_NAME: Final = re.compile(
    r"cannot import name '?(\w+)'? from (?:partially .*? module )?'?([\w.]+)'?"
)
_MOST: Final = 500


def paths_in(text: str) -> tuple[str, ...]:
    """What may be a path in an error, each once: quoted texts, and words with a slash or a dot.

    >>> paths_in("FileNotFoundError: No such file: 'data/a b.npy'; see data/README.md.")
    ('data/a b.npy', 'data/README.md')
    """
    quoted = ("".join(groups) for groups in _QUOTED.findall(text))
    bare = (word.rstrip(".") for word in _BARE.findall(text))
    words = (*quoted, *(word for word in bare if "/" in word or "." in word))
    likely = (word for word in dict.fromkeys(words) if word.strip("./~ ") and "\0" not in word)
    return tuple(likely)[:_MOST]


def modules_in(text: str) -> tuple[str, ...]:
    """Modules that an error says cannot be imported, each once.

    >>> modules_in("ImportError: cannot import name 'b' from 'a' (a.py); No module named 'c.d'")
    ('c.d', 'a.b')
    """
    named = (f"{module}.{name}" for name, module in _NO_NAME.findall(text))
    return tuple(dict.fromkeys((*_NO_MODULE.findall(text), *named)))
