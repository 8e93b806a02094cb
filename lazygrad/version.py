"""PyTorch's `version` namespace: whose surface this is, and text that compares as a version."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from lazygrad import __version__ as lazygrad_version

_FORM = re.compile(
    r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)[-_.]?(?:(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d*))?"
    r"(?:-(\d+)|[-_.]?(?:post|rev|r)[-_.]?(\d*))?(?:[-_.]?(dev)[-_.]?(\d*))?"
    r"(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
)
_PHASES = {"a": 0, "b": 1, "c": 2, "r": 2, "p": 2}  # of pre-releases, by their first letter
_RELEASED = 3


def _order(version: Any) -> tuple[Any, ...] | None:
    """What versions are sorted by, as packaging sorts them; None for what is no version."""
    if not isinstance(version, str):
        version = ".".join(map(str, version)) if isinstance(version, Iterable) else str(version)
    found = _FORM.fullmatch(version.strip().lower())
    if found is None:
        return None
    epoch, release, phase, pre, dashed, post, dev, trial, local = found.groups()
    numbers = [int(number) for number in release.split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    after = -1 if dashed is None and post is None else int(dashed or post or 0)
    if phase:
        stage = (_PHASES["a" if phase == "alpha" else phase[0]], int(pre or 0))
    else:  # a trial of a release comes before its first pre-release
        stage = (-1, 0) if dev and after < 0 else (_RELEASED, 0)
    parts = re.split("[-_.]", local) if local else []
    return (int(epoch or 0), numbers, stage, after, (0, int(trial or 0)) if dev else (1, 0),
            [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts])


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[TorchVersion, Any], bool]:
    def method(self: TorchVersion, other: Any) -> bool:
        mine, others = _order(str(self)), _order(other)
        if mine is None or others is None:
            return compare(str(self), other)
        return compare(mine, others)

    return method


class TorchVersion(str):
    """A version as text that compares as a version: with text, numbers in a tuple and packaging's versions.
    What is no version is compared as text."""

    __slots__ = ()
    __lt__ = _compared(operator.lt)
    __le__ = _compared(operator.le)
    __eq__ = _compared(operator.eq)
    __ne__ = _compared(operator.ne)
    __gt__ = _compared(operator.gt)
    __ge__ = _compared(operator.ge)
    __hash__ = str.__hash__


TORCH_VERSION = TorchVersion(f"2.13.0+lazygrad.{lazygrad_version}")  # the surface that lazygrad follows

__version__ = TORCH_VERSION
git_version = "Unknown"
debug = False
cuda = None  # code asks whether this is None, or splits it
hip = None
xpu = None
