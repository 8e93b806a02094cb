"""Functions of the root that switch or tell something about the whole process: threads, determinism,
precision, the default device; checks; and `compile`."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from lazygrad import config, dtypes
from lazygrad.errors import ArgumentError, ArgumentTypeError, MissingError, OutOfBoundsError
from lazygrad.layouts import tensortype
from lazygrad.runtime.registry import open_device
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.devices import device, usable_device

_state: dict[str, Any] = {
    "deterministic": False,
    "warn_only": False,
    "precision": "highest",
    "warn_always": False,
    "interop": 1,
}
_kept: list[AbstractContextManager[None]] = []  # settings that hold from now on


def _set(**settings: Any) -> None:
    block = config.override(**settings)
    block.__enter__()
    _kept.append(block)


def set_num_threads(num: int) -> None:
    """How many threads share the work of a kernel on the CPU."""
    if isinstance(num, bool) or not isinstance(num, int):
        raise ArgumentTypeError(f"[set_num_threads] expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise ArgumentError("[set_num_threads] expects a positive integer")
    _set(THREADS=num)


def get_num_threads() -> int:
    """How many threads share the work of a kernel on the CPU."""
    return getattr(open_device("CPU"), "threads", 1)


def set_num_interop_threads(num: int) -> None:
    """Remembered: operations run one after the other."""
    _state["interop"] = num


def get_num_interop_threads() -> int:
    """What set_num_interop_threads was told."""
    return _state["interop"]


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remembered: results do not depend on the order of work, so that every algorithm is deterministic."""
    _state.update(deterministic=bool(mode), warn_only=bool(warn_only))


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms was told."""
    return _state["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What use_deterministic_algorithms was told."""
    return _state["warn_only"]


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """use_deterministic_algorithms by a number or name: 0 "default", 1 "warn", 2 "error"."""
    names = {"default": 0, "warn": 1, "error": 2}
    mode = names.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if mode not in (0, 1, 2):
        raise ArgumentError(
            "[set_deterministic_debug_mode] invalid value of debug_mode, expected "
            f"one of `default`, `warn`, `error`, or 0, 1, 2, but got {debug_mode}"
        )
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """What set_deterministic_debug_mode was told, as a number."""
    return (1 if _state["warn_only"] else 2) if _state["deterministic"] else 0


def set_float32_matmul_precision(precision: str) -> None:
    """Remembered: products of float32 are computed in float32."""
    if precision not in ("highest", "high", "medium"):
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current setting stays",
            stacklevel=2,
        )
        return
    _state["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision was told."""
    return _state["precision"]


def set_flush_denormal(mode: bool) -> bool:
    """False: small numbers are never flushed to zero."""
    return False


def set_warn_always(b: bool) -> None:
    """Remembered: each warning says what Python's filters let it say."""
    _state["warn_always"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What set_warn_always was told."""
    return _state["warn_always"]


def set_default_device(device: Any) -> None:
    """Where tensors are made that nobody says a device for, from now on; None for the CPU."""
    _set(DEVICE=usable_device("cpu" if device is None else device))


def get_default_device() -> device:
    """Where tensors are made that nobody says a device for."""
    return device(config.get("DEVICE"))


def set_default_tensor_type(t: Any) -> None:
    """The default float type by one of the legacy classes or its name. Raises ArgumentTypeError for
    others."""
    if isinstance(t, str):
        name = t.rpartition(".")[2]
        found = {
            "FloatTensor": dtypes.float32,
            "DoubleTensor": dtypes.float64,
            "HalfTensor": dtypes.float16,
            "BFloat16Tensor": dtypes.bfloat16,
        }.get(name)
    else:
        found = t.dtype if isinstance(t, tensortype) else None
    if found is None or found.kind != "float":
        raise ArgumentTypeError(
            "[set_default_tensor_type] only floating-point types are supported as the "
            f"default type, not {t!r}"
        )
    FUNCTIONS["set_default_dtype"](found)


# Checks


def _assert(condition: Any, message: str = "") -> None:
    """`assert condition, message`, as a function."""
    assert condition, message


def _assert_async(input: Any, assert_msg: str = "Expected Tensor with single nonzero value") -> None:
    """Raise ArgumentError where the only value of a tensor is zero. Realizes."""
    if not bool(input):
        raise ArgumentError(f"[_assert_async] {assert_msg}")


def _checking(name: str, error: type[Exception]) -> Callable[..., None]:
    def check(cond: Any, message: Callable[[], str] | None = None) -> None:
        if not cond:
            text = "Expected cond to be True, but got False. (Could this error message be improved?)"
            raise error(f"[{name}] {message() if message else text}")

    check.__name__ = name
    check.__doc__ = f"Raises {error.__name__} with what `message` returns, unless cond holds."
    return check


_check, _check_value = _checking("_check", ArgumentError), _checking("_check_value", ArgumentError)
_check_index = _checking("_check_index", OutOfBoundsError)
_check_type = _checking("_check_type", ArgumentTypeError)
_check_not_implemented = _checking("_check_not_implemented", MissingError)


def _check_tensor_all(cond: Any, message: Callable[[], str] | None = None) -> None:
    """_check that all elements of a bool tensor are True. Realizes."""
    _check(bool(cond.all()), message)


def _check_with(error_type: type[Exception], cond: Any, message: Callable[[], str]) -> None:
    """Raises an error of the user's choice, with what `message` returns, unless cond holds."""
    if not cond:
        raise error_type(message())


def _check_is_size(i: int, message: Callable[[], str] | None = None, *, max: int | None = None) -> None:
    """_check that a number can be a size."""
    _check(i >= 0 and (max is None or i <= max), message)


def _shape_as_tensor(x: Tensor) -> Tensor:
    """The shape as an int64 tensor."""
    return FUNCTIONS["tensor"](list(x.shape))


def typename(obj: Any) -> str:
    """The name of a tensor's type ("torch.FloatTensor"), or of an object's class with its module."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) or inspect.isfunction(obj) else type(obj)
    module = getattr(kind, "__module__", "") or ""
    name = getattr(kind, "__qualname__", str(kind))
    return name if module in ("", "builtins", "__builtin__") else f"{module}.{name}"


def is_storage(obj: Any) -> bool:
    """Whether an object is a storage."""
    return type(obj).__name__ in ("UntypedStorage", "TypedStorage")


def is_anomaly_enabled() -> bool:
    """False: an error in a derivative names its operation anyway."""
    return False


def compiled_with_cxx11_abi() -> bool:
    """True."""
    return True


def get_device_module(device: Any = None) -> Any:
    """The module of a kind of device: `lazygrad.cpu`, or `lazygrad.cuda` for OpenCL."""
    kind = get_default_device() if device is None else device
    on_host = str(kind).partition(":")[0] in ("cpu", "numpy")
    return importlib.import_module("lazygrad.cpu" if on_host else "lazygrad.cuda")


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    shapes_spec: Any = None,
) -> Any:
    """The function or module itself, or without one a decorator that changes nothing.

    What it computes is compiled in any case, when it is read. A function that is to be replayed without
    Python can be given to `lazygrad.jit`, which says what it cannot replay. Raises ArgumentError where both
    mode and options are given, as PyTorch does.
    """
    if mode is not None and options is not None:
        raise ArgumentError(
            "[compile] Either mode or options can be specified, but both can't be specified at the same time."
        )
    return (lambda decorated: decorated) if model is None else model
