"""`python -m lazygrad run`: a program written for PyTorch, run as Python would, with lazygrad as `torch`.

The program is `__main__`, sees its own arguments in `sys.argv` and its folder first in `sys.path`; its
exceptions are printed without our frames, and the exit status is its own.
"""

from __future__ import annotations

import atexit
import importlib.util
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

from lazygrad.torch_name import as_torch

USAGE = "usage: python -m lazygrad run SCRIPT [args], or run -m MODULE [args], or run -c CODE [args]"


class _CannotStart(Exception):
    """Why there is no program to run, in Python's words, and the exit status that Python gives."""

    def __init__(self, text: str, status: int):
        super().__init__(text)
        self.status = status


def run_script(arguments: Sequence[str]) -> int:
    """Run `SCRIPT [args]`, `-m MODULE [args]` or `-c CODE [args]` as the main program; its exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    how, *rest = arguments
    if how in _WAYS and not rest:
        print(f"[run] {how} needs an argument\n{USAGE}", file=sys.stderr)
        return 2
    as_torch()
    prepare, given = (_WAYS[how], rest) if how in _WAYS else (_file, list(arguments))
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=sys.modules["builtins"], __annotations__={})
    sys.modules["__main__"] = main
    try:
        exec(prepare(given, main), main.__dict__)
    except SystemExit:
        raise
    except _CannotStart as reason:
        print(f"{sys.executable}: {reason}", file=sys.stderr)
        return reason.status
    except BaseException as error:
        return _failed(error)
    return 0


def _file(given: Sequence[str], main: ModuleType) -> CodeType:
    path = given[0]
    sys.argv[:] = given
    full = os.path.abspath(path)
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        sys.path[0] = path
        spec = PathFinder.find_spec("__main__", [path])
        if spec is None:
            raise _CannotStart(f"can't find '__main__' module in {path!r}", 1)
        return _code_of(spec, main)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        what = f"[Errno {error.errno}] {error.strerror}"
        raise _CannotStart(f"can't open file {full!r}: {what}", 2) from None
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    main.__dict__.update(__file__=full, __cached__=None, __loader__=SourceFileLoader("__main__", full))
    return compile(source, full, "exec", dont_inherit=True)


def _module(given: Sequence[str], main: ModuleType) -> CodeType:
    name = given[0]
    sys.argv[:] = ["-m", *given[1:]]
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
            if spec is None:
                what = f"{name!r} is a package and cannot be directly executed"
                raise _CannotStart(f"No module named {name}.__main__; {what}", 1)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        what = f"({type(error).__name__}: {error})"
        raise _CannotStart(f"Error while finding module specification for {name!r} {what}", 1) from error
    if spec is None:
        raise _CannotStart(f"No module named {name}", 1)
    sys.argv[0] = spec.origin or name
    return _code_of(spec, main)


def _text(given: Sequence[str], main: ModuleType) -> CodeType:
    sys.argv[:] = ["-c", *given[1:]]
    sys.path[0] = ""
    return compile(given[0], "<string>", "exec", dont_inherit=True)


_WAYS: dict[str, Callable[[Sequence[str], ModuleType], CodeType]] = {"-m": _module, "-c": _text}


def _code_of(spec: ModuleSpec, main: ModuleType) -> CodeType:
    code = getattr(spec.loader, "get_code", lambda name: None)(spec.name)
    if code is None:
        raise _CannotStart(f"No code object available for {spec.name}", 1)
    own: dict[str, Any] = {"__file__": spec.origin, "__cached__": spec.cached, "__loader__": spec.loader}
    main.__dict__.update(own, __package__=spec.parent, __spec__=spec)
    return code


def _failed(error: BaseException) -> int:
    """Report an exception as Python would, without our frames; the exit status."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    error.__traceback__ = trace
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    sys.excepthook(type(error), error, trace)
    if isinstance(error, KeyboardInterrupt) and os.name == "posix":
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started us sees that we were interrupted
        os.kill(os.getpid(), signal.SIGINT)
    return 1
