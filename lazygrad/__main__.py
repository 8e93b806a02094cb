"""`python -m lazygrad`: version, devices, settings, DEBUG levels; `python -m lazygrad run SCRIPT`: a PyTorch
program over lazygrad. Subcommands are rows of COMMANDS."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence

import llvmlite
import numpy as np

import lazygrad
from lazygrad import config
from lazygrad.engine.report import LEVELS, size_text
from lazygrad.errors import LazygradError
from lazygrad.run_script import run_script
from lazygrad.runtime.cl_platform import describe, find_devices, target_of
from lazygrad.runtime.registry import open_device
from lazygrad.source import Target


def info(arguments: Sequence[str]) -> int:
    """Print what this installation is, the devices it finds, every setting, every DEBUG level."""
    if arguments:
        raise SystemExit(f"[lazygrad] info takes no arguments, not {' '.join(arguments)!r}")
    print(
        f"lazygrad {lazygrad.__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"llvmlite {llvmlite.__version__}, {platform.system()} {platform.machine()}"
    )
    if not print_settings():
        return 1  # no device opens under a setting that is wrong
    print_devices()
    print("\nDEBUG levels, each adding to the one before")
    for level, text in enumerate(LEVELS):
        print(f"  {level}  {text}")
    return 0


def print_devices() -> None:
    """The devices that DEVICE can name here, with the facts that code generation uses."""
    print("\ndevices")
    try:
        cpu = open_device("CPU")
        print(f"  CPU    {cpu.description.removeprefix('CPU ')}")
        print(f"         {target_text(cpu.target)}")
    except LazygradError as error:
        print(f"  CPU    none: {error}")
    try:
        found = find_devices()
        for number, device in enumerate(found):
            print(f"  {f'CL:{number}' if number else 'CL':6} {describe(device)}")
            print(f"         {target_text(target_of(device))}")
    except LazygradError as error:
        print(f"  CL     none: {error}")
    print(f"  NUMPY  {open_device('NUMPY').description.removeprefix('NUMPY: ')}")


def target_text(target: Target) -> str:
    """A target's facts in one line."""
    facts = [f"{target.language}", f"{target.vector_bytes}-byte vectors"]
    if target.language == "opencl":
        facts += [
            f"groups of up to {target.max_group_items} items",
            f"{target.max_parameters} buffers a kernel",
            f"{size_text(target.local_bytes)} local",
            f"{target.features}",
        ]
    return ", ".join(
        [*facts, "no " + ", ".join(missing) if (missing := missing_dtypes(target)) else "all dtypes"]
    )


def missing_dtypes(target: Target) -> list[str]:
    """The names of the dtypes that a target cannot compute with."""
    return [
        name for name in ("float16", "bfloat16", "float32", "float64", "int64") if name not in target.dtypes
    ]


def print_settings() -> bool:
    """Every environment variable with its value now, a wrong one as the error that it is. True if all are
    right."""
    right = True
    print("\nsettings (environment variables)")
    for row in config.ROWS:
        try:
            value = str(config.get(row.name))
        except LazygradError as error:
            value, right = str(error), False
        print(f"  {row.name:12} {value or '-':28} {row.help} ({row.accepts})")
    return right


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"info": info, "run": run_script}


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand, `info` without one."""
    name, *rest = arguments or ["info"]
    if name not in COMMANDS:
        print(
            f"[lazygrad] unknown command {name!r}: there {'is' if len(COMMANDS) == 1 else 'are'} "
            f"{', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    return COMMANDS[name](rest)


def run(arguments: Sequence[str]) -> int:
    """`main`; in a pipe whose reader may have seen enough (`| head -1`) the rest is not printed: 1."""
    try:
        status = main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # what is still buffered goes nowhere, else Python would fail to write it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
