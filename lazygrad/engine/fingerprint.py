"""What results on disk depend on: the facts of a device, and what lazygrad's own files are."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lazygrad.runtime.device import Device

_PACKAGE = Path(__file__).parent.parent


def facts(device: Device) -> Any:
    """What code generation knows of a device, in an order that is the same in every process."""
    target = device.target
    return replace(target, dtypes=frozenset()), sorted(target.dtypes), device.description


@cache
def package() -> str:
    """What the files of this package are: name, size and time of each."""
    files = [(str(path.relative_to(_PACKAGE)), path.stat().st_size, path.stat().st_mtime_ns)
             for path in sorted(_PACKAGE.rglob("*.py"))]
    return repr((sys.version, np.__version__, files))


@cache
def code_generation() -> str:
    """What makes code of a nest: the contents of those files, and LLVM's version."""
    from importlib.metadata import version  # which takes longer to import than plans take to find

    state = hashlib.sha256(version("llvmlite").encode())
    for path in sorted((_PACKAGE / "codegen").glob("*.py")):
        content = path.read_bytes()
        state.update(f"{path.name} {len(content)} ".encode() + content)
    return state.hexdigest()
