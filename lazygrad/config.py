"""Every environment variable, one row each; a misspelt value is an error that names the right ones.

A setting is read once, when it is first needed; `config.override(DEBUG=2)` sets it for a block of code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazygrad.errors import SettingError


@dataclass(frozen=True)
class Setting:
    """One environment variable: its name, the text of its default, how its text is read, what it does."""

    name: str
    default: str
    parse: Callable[[str], Any]
    accepts: str
    help: str


def _flag(text: str) -> bool:
    return {"0": False, "": False, "false": False, "1": True, "true": True}[text.lower()]


def _between(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return parse


def _device(text: str) -> str:
    kind, _, number = text.upper().partition(":")
    known = kind in ("CPU", "CL", "NUMPY", "META")
    if not known or (number and not number.isdigit()) or (number and kind != "CL"):
        raise ValueError(text)
    return f"{kind}:{number}" if number else kind


def _processor(text: str) -> str:
    if not re.fullmatch(r"[\w.+-]+", text):
        raise ValueError(text)
    return text


def _cache_dir(text: str) -> Path | None:
    if text == "off":
        return None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(text or os.path.join(base, "lazygrad")).expanduser()


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(text)
        return text.lower()

    return parse


ROWS = (
    Setting("DEVICE", "CPU", _device, "CPU, CL, CL:n or NUMPY", "device of new tensors"),
    Setting("DEBUG", "0", _between(0, 7), "0 to 7",
            "how much each realization prints, see the table of levels"),
    Setting("THREADS", "0", _between(0, 1024), "0 to 1024",
            "CPU worker threads; 0 means one per usable core"),
    Setting("CPU", "host", _processor, "host, or a processor's name as LLVM has it, such as x86-64-v3",
            "processor that kernels of the device CPU are compiled for"),
    Setting("NOOPT", "0", _flag, "0 or 1", "1 runs every kernel as its naive loop nest, without a recipe"),
    Setting("TUNE", "0", _flag, "0 or 1",
            "1 tries a few recipes for each new kernel and keeps the fastest, on disk too"),
    Setting("RNG", "counter", _one_of("counter", "torch"), "counter or torch",
            "torch draws the numbers that PyTorch's CPU generator gives for the same seed, bit for bit"),
    Setting("CACHE_DIR", "", _cache_dir, "a folder, or off",
            "where compiled kernels are kept between processes; PoCL keeps its own"),
    Setting("NO_COLOR", "0", lambda text: bool(text) and text != "0", "anything",
            "1 prints DEBUG output without colours"),
    Setting("CL_PLATFORM", "", str, "part of a platform's name",
            "which OpenCL platform CL devices are taken from"),
)
BY_NAME = {row.name: row for row in ROWS}
_values: dict[str, Any] = {}
changes = 0  # of settings so far: whoever saw this number has seen all


def _parse(name: str, text: str) -> Any:
    row = BY_NAME[name]
    try:
        return row.parse(text)
    except (ValueError, KeyError):
        raise SettingError(f"[setting] {name}={text!r}: expected {row.accepts}") from None


def get(name: str) -> Any:
    """The parsed value of a setting: an override, else the environment's, else the default."""
    if name not in _values:
        if name not in BY_NAME:
            raise SettingError(f"[setting] unknown setting {name!r}: there are {', '.join(BY_NAME)}")
        _values[name] = _parse(name, os.environ.get(name, BY_NAME[name].default))
    return _values[name]


@contextmanager
def override(**settings: Any) -> Iterator[None]:
    """Set settings for a block of code: `with override(DEBUG=2, NOOPT=True): ...`."""
    global changes
    before = {name: get(name) for name in settings}
    _values.update({name: _parse(name, str(int(v) if isinstance(v, bool) else v))
                    for name, v in settings.items()})
    changes += 1
    try:
        yield
    finally:
        _values.update(before)
        changes += 1


def launched_processes() -> int:
    """How many processes a launcher such as torchrun says that it has started (WORLD_SIZE); 1 without one."""
    text = os.environ.get("WORLD_SIZE", "")
    return int(text) if text.isdigit() else 1


def torch_home() -> Path:
    """Where PyTorch keeps what it downloads: TORCH_HOME, else a folder in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("TORCH_HOME") or os.path.join(base, "torch")).expanduser()


def loading_is_forced(way: str) -> bool:
    """Whether PyTorch's variable TORCH_FORCE_WEIGHTS_ONLY_LOAD, or ..._NO_WEIGHTS_ONLY_LOAD, is on now:
    programs set them while they run."""
    return os.environ.get(f"TORCH_FORCE_{way}_LOAD", "0").lower() in ("1", "y", "yes", "true")
