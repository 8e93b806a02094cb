"""`lazygrad.jit`: a function of tensors that is recorded once and then replayed in one native call.

The first call with arguments of a kind runs as if there were no decorator; the second is recorded; later ones
replay. What makes a kind: shapes, dtypes, devices and views of tensors, and all other arguments. A replay is
taken only while everything that the function can see (modules, settings, globals) is as it was, see
`reachable.py`; otherwise the function is recorded again.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import threading
import warnings
from collections.abc import Callable, Hashable
from operator import is_
from typing import Any

import numpy as np

from lazygrad import config
from lazygrad.errors import ArgumentTypeError
from lazygrad.tensors.core import Tensor, creator
from lazygrad.tensors.jit.reachable import Arguments, is_plain
from lazygrad.tensors.jit.recorder import Recorder
from lazygrad.tensors.jit.replay import MISS, Replay
from lazygrad.tensors.jit.shortcut import shortcut
from lazygrad.tensors.jit.stands import Stand, signature
from lazygrad.tensors.modes import mode
from lazygrad.tensors.promotion import get_default_dtype
from lazygrad.tensors.recording import now

KINDS = 256  # of arguments that one function remembers
REPLAYS = 8  # of one kind of arguments: where more are asked for, the function changes what it depends on


@creator()
def jit(function: Callable[..., Any] | None = None) -> Any:
    """Record a function of tensors once and replay it from then on: one native call in place of Python.

    The function may compute, differentiate (`backward` inside), write to tensors, step optimizers and
    schedulers, and draw random numbers: all of it advances at each call as without the decorator. Arguments
    are tensors, Python values, modules and optimizers, also in tuples, lists, dicts and dataclasses. Other
    effects (printing, appending to a list) happen when the function runs, not when it is replayed; those that
    can be seen give a RuntimeWarning.

    Raises CaptureError, naming the line, for what cannot be replayed: reading a value inside (`item()`,
    `bool()`, shapes that depend on values), work on several devices, going on with gradients that began
    outside. Raises ArgumentTypeError for NumPy arrays as arguments.
    """
    if function is None:
        return jit
    if not callable(function):
        raise ArgumentTypeError(f"[jit] expected a function, not {type(function).__name__}")
    return _Jitted(function)


class _Jitted:
    """A function with its replays, by kinds of arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self._lock = threading.RLock()  # calls from several threads take turns
        self._kinds: dict[Hashable, list[Replay]] = {}
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._warned = False
        self._last: _Last | None = None
        self._bound: dict[str, _Jitted] = {}

    def _replay_structure(self) -> None:
        """To another function's recording this is the function alone."""

    def _replay_places(self) -> list[tuple[Any, Any]]:
        return [(self.__dict__, "function")]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        # kept with the object, and gone with it
        own = instance.__dict__ if hasattr(instance, "__dict__") else self._bound
        key = f"jitted {self._name} {id(self)} {id(instance)}"
        if key not in own:
            own[key] = _Jitted(self.function.__get__(instance, owner))
        return own[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Jitted:
        return _Jitted(copy.deepcopy(self.function, memo))

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _Jitted, (self.function,)  # what was recorded belongs to this process

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if now.recorder is not None:  # inside another function that is being recorded
            return self.function(*args, **kwargs)
        with self._lock:
            last = self._last
            if last is not None:
                result = last.run(args, kwargs)
                if result is not MISS:
                    return result
                self._last = None  # what it knows to be bound may be bound no more
            return self._call(args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = Arguments()
        objects: list[Any] = []
        values = _kind((args, kwargs), tensors, objects)
        tensors.mark_parts()
        kind = values, _setting(), *map(_kind_of_tensor, tensors, tensors.parts)
        replays = self._kinds.get(kind)
        if replays is None:
            self._remember(kind)
            return self.function(*args, **kwargs)
        for replay in replays:
            result = replay.run(tensors)
            if result is not MISS:
                self._last = _Last(args, kwargs, tensors, replay) if _is_simple(args, kwargs) else None
                return result
        if len(replays) >= REPLAYS:
            self._warn(f"has been recorded {REPLAYS} times for the same arguments, because what it depends "
                       "on changes between calls: it runs without replay", 4)
            return self.function(*args, **kwargs)
        return self._record(args, kwargs, tensors, objects, replays)

    def _remember(self, kind: Hashable) -> None:
        if len(self._kinds) >= KINDS:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = []

    def _record(self, args: Any, kwargs: Any, tensors: Arguments, objects: list[Any],
                replays: list[Replay]) -> Any:
        roots: list[tuple[Any, Any, str]] = [((self.function,), 0, self._name)]
        roots += [(objects, i, type(x).__name__) for i, x in enumerate(objects)]
        roots += [(tensors, i, f"argument {i}") for i in range(len(tensors))]
        replay = Replay(tensors, roots)
        recorder = Recorder()
        parts = replay.promise_parts(recorder)
        if parts:
            args, kwargs = _exchanged((args, kwargs), parts)
        try:
            with recorder:
                output = self.function(*args, **kwargs)
            replay.finish(recorder, output)
            del output  # the first replay makes it
        except BaseException:
            recorder.restore()
            raise
        if replay.changed:
            names = ", ".join(replay.changed[:5])
            self._warn(f"changes {names} while it runs, which replays will not repeat", 5)
        recorder.rewind()
        try:
            replay.compile()
            result = replay.run_first()
        except BaseException:
            recorder.redo()
            raise
        replays.insert(0, replay)
        return result

    def _warn(self, text: str, depth: int) -> None:
        """`depth`: frames up to the user's call."""
        if not self._warned:
            self._warned = True
            warnings.warn(f"[jit] {self._name} {text}", RuntimeWarning, stacklevel=depth)


class _Last:
    """The arguments of a call, all of them tensors or plain values, and the replay that it took: a call with
    the very same ones takes it again, from the second time on by a shortcut where there is one."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: Arguments,
                 replay: Replay) -> None:
        self.args, self.names = (*args, *kwargs.values()), tuple(kwargs)
        self.tensors, self.replay = tensors, replay
        self.changes, self.setting = config.changes, _setting()
        self.grad_mode, self.dtype = mode.enabled, get_default_dtype()
        self.shortcut: Callable[[], Any] | None = None

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result, or MISS where the call is another one or the recording does not hold."""
        if kwargs or self.names:
            if tuple(kwargs) != self.names:
                return MISS
            args = (*args, *kwargs.values())
        if len(args) != len(self.args) or not all(map(is_, args, self.args)):
            return MISS
        if mode.enabled is not self.grad_mode or get_default_dtype() is not self.dtype:
            return MISS
        if config.changes != self.changes and not self._settings_hold():
            return MISS
        if self.shortcut is not None:
            return self.shortcut()
        if not all(map(Stand.is_same, self.replay.argument_stands)):
            return MISS
        result = self.replay.run(self.tensors)
        if result is not MISS:
            self.shortcut = shortcut(self.replay)
        return result

    def _settings_hold(self) -> bool:
        changes, setting = config.changes, _setting()
        self.shortcut = None  # it prints nothing, whatever DEBUG says
        if setting == self.setting:
            self.changes = changes
        return setting == self.setting


def _is_simple(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return all(isinstance(x, Tensor) or is_plain(x) for x in (*args, *kwargs.values()))


def _setting() -> Hashable:
    """What the whole program has set."""
    settings = [config.get(name) for name in ("DEVICE", "NOOPT", "THREADS", "RNG")]
    return mode.enabled, get_default_dtype(), *settings


def _kind(value: Any, tensors: Arguments, objects: list[Any]) -> Hashable:
    """What a value is to a replay; tensors, and objects that are to be walked, are collected."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return Tensor
    kind = type(value)
    if kind is list or isinstance(value, tuple):
        return (kind, *[_kind(v, tensors, objects) for v in value])
    if kind is dict:
        return (kind, *[(k, _kind(v, tensors, objects)) for k, v in value.items()])
    if is_plain(value) or isinstance(value, np.generic):
        return kind, repr(value)
    if isinstance(value, np.ndarray):
        raise ArgumentTypeError("[jit] arguments are tensors and Python values, not NumPy arrays: wrap the "
                                f"array of shape {value.shape} in lazygrad.tensor()")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (kind, *[_kind(getattr(value, f.name), tensors, objects) for f in dataclasses.fields(value)])
    objects.append(value)
    return kind, id(value)


def _exchanged(value: Any, parts: dict[int, Tensor]) -> Any:
    """Arguments with other tensors in the stead of some, by id."""
    if isinstance(value, Tensor):
        return parts.get(id(value), value)
    kind: Any = type(value)
    if kind is list or (isinstance(value, tuple) and not hasattr(kind, "_fields")):
        return kind([_exchanged(v, parts) for v in value])
    if isinstance(value, tuple):
        return kind(*[_exchanged(v, parts) for v in value])
    if kind is dict:
        return {key: _exchanged(v, parts) for key, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(changed, field.name, _exchanged(getattr(value, field.name), parts))
        return changed
    return value


def _kind_of_tensor(x: Tensor, part: bool) -> Hashable:
    return ("part", x._shape, x._dtype, x._history.cell.device) if part else signature(x)
