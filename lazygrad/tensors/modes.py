"""Whether operations record what gradients need: `no_grad`, `enable_grad`, `set_grad_enabled`,
`inference_mode`."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from lazygrad.errors import ArgumentTypeError


class _Mode(threading.local):
    enabled = True
    inference = False  # whether the innermost block of inference_mode is one


mode = _Mode()
_current = mode  # where an argument has the name


def is_grad_enabled() -> bool:
    """True where operations on tensors that require a gradient are recorded."""
    return mode.enabled


class set_grad_enabled:
    """Switch recording on or off, at once or for a `with` block or a decorated function."""

    def __init__(self, mode: bool):
        if not isinstance(mode, bool):
            raise ArgumentTypeError(f"[set_grad_enabled] mode must be bool, not {type(mode).__name__}")
        self.before, self.wanted = is_grad_enabled(), mode
        self.__enter__()

    def __enter__(self) -> None:
        mode.enabled = self.wanted

    def __exit__(self, *_: object) -> None:
        mode.enabled = self.before

    def __call__(self, orig_func: Callable[..., Any]) -> Callable[..., Any]:
        mode.enabled = self.before
        return _decorated(lambda: _Block(self.wanted), orig_func)


class _Block:
    """A context manager and decorator that sets the mode for a block; one object may be entered many
    times."""

    def __init__(self, wanted: bool):
        self.wanted = wanted
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(mode.enabled)
        mode.enabled = self.wanted

    def __exit__(self, *_: object) -> None:
        mode.enabled = self.before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _decorated(lambda: _Block(self.wanted), function)


def _decorated(block: Callable[[], _Block], function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):
        return _decorated_generator(block, function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with block():
            return function(*args, **kwargs)

    return wrapper


def _decorated_generator(block: Callable[[], _Block], function: Callable[..., Any]) -> Callable[..., Any]:
    # the mode holds while the generator runs, not while its caller does
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        answer = None
        while True:
            try:
                with block():
                    value = generator.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = yield value

    return wrapper


class no_grad(_Block):
    """Record nothing: results do not require a gradient. A `with` block or a decorator."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Callable[..., Any] | None = None):
        super().__init__(False)


class enable_grad(no_grad):
    """Record again inside a `no_grad` block."""

    def __init__(self, function: Callable[..., Any] | None = None):
        _Block.__init__(self, True)


class inference_mode(_Block):
    """Like `no_grad`, and `is_inference_mode_enabled` tells of it; `inference_mode(False)` records."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if not callable(mode):
            return made
        made.__init__(True)  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: Any = True):
        super().__init__(not mode if mode in (True, False) else False)
        self.around: list[bool] = []

    def __enter__(self) -> None:
        super().__enter__()
        self.around.append(_current.inference)
        _current.inference = not self.wanted

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        _current.inference = self.around.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _decorated(lambda: inference_mode(not self.wanted), function)


def is_inference_mode_enabled() -> bool:
    """True inside of `inference_mode`."""
    return mode.inference
