"""`autocast`: a block in which products take 16-bit floats and sensitive functions float32, by PyTorch's
lists."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from lazygrad import cuda, dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError
from lazygrad.tensors.autocasting import state
from lazygrad.tensors.core import Tensor

_KINDS = {"cpu": "cpu", "numpy": "cpu", "cuda": "cuda", "cl": "cuda"}
_OTHERS = ("xpu", "hpu", "mps", "mtia", "maia", "ipu", "xla", "meta", "privateuseone")


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows a kind of device."""
    return device_type in _KINDS


class autocast:
    """A block, or a decorator, for a kind of device: "cpu" or "cuda" (OpenCL). `dtype` is bfloat16 for "cpu"
    and float16 for "cuda" unless given. Raises ArgumentError for a kind that is none."""

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        if not isinstance(device_type, str):
            raise ArgumentError(
                f"[autocast] Expected `device_type` of type `str`, got: `{type(device_type)}`"
            )
        self.device = device_type
        kind = _KINDS.get(device_type)
        if kind is None and device_type not in _OTHERS:
            raise ArgumentError(
                f"[autocast] User specified an unsupported autocast device_type '{device_type}'"
            )
        if kind is None or (device_type == "cuda" and not cuda.is_available()):
            if enabled:
                name = "CUDA" if device_type == "cuda" else device_type
                warnings.warn(
                    f"User provided device_type of '{device_type}', but {name} is not available. Disabling",
                    stacklevel=2,
                )
            enabled = False
        self.kind = kind or "cpu"
        self.fast_dtype = dtype or state.wanted[self.kind]
        if enabled and self.fast_dtype not in (dtypes.bfloat16, dtypes.float16):
            warnings.warn(
                f"In {self.kind.upper()} autocast, but the target dtype is not supported. "
                f"Disabling autocast.\n{self.kind.upper()} Autocast only supports dtype of "
                "torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = bool(enabled)
        self._before: list[tuple[dict[str, DType], DType]] = []

    def __enter__(self) -> autocast:
        self._before.append((state.active, state.wanted[self.kind]))
        others = {k: v for k, v in state.active.items() if k != self.kind}
        state.active = {**others, self.kind: self.fast_dtype} if self._enabled else others
        state.wanted[self.kind] = self.fast_dtype
        return self

    def __exit__(self, *_: object) -> None:
        state.active, state.wanted[self.kind] = self._before.pop()

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def run(*args: Any, **options: Any) -> Any:
            with self:
                return func(*args, **options)

        return run


def _kind(device_type: str | None) -> str:
    if device_type is not None and device_type not in _KINDS:
        raise ArgumentError(f"[autocast] unknown device type for autocast: {device_type}")
    return _KINDS["cuda" if device_type is None else device_type]


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on for a kind of device, "cuda" where none is named; never for those that are not
    here."""
    if device_type in _OTHERS and device_type != "meta":
        return False
    return _kind(device_type) in state.active


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast on or off from now on, for "cuda" where no kind is named."""
    device_type, enabled = ("cuda", device_type) if enabled is None else (device_type, enabled)
    kind = _kind(device_type)
    others = {k: v for k, v in state.active.items() if k != kind}
    state.active = {**others, kind: state.wanted[kind]} if enabled else others


def get_autocast_dtype(device_type: str) -> DType:
    """The 16-bit type of autocast for a kind of device."""
    return state.wanted[_kind(device_type)]


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Choose the 16-bit type of autocast for a kind of device."""
    kind = _kind(device_type)
    state.wanted[kind] = dtype
    if kind in state.active:
        state.active = {**state.active, kind: dtype}


def get_autocast_gpu_dtype() -> DType:
    """The 16-bit type of autocast for "cuda"."""
    return state.wanted["cuda"]


def get_autocast_cpu_dtype() -> DType:
    """The 16-bit type of autocast for "cpu"."""
    return state.wanted["cpu"]


def is_autocast_cpu_enabled() -> bool:
    """Whether autocast is on for the CPU."""
    return "cpu" in state.active


def is_autocast_cache_enabled() -> bool:
    """True: equal casts are one node of the graph."""
    return True


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Changes nothing: equal casts are one node of the graph."""


def clear_autocast_cache() -> None:
    """Changes nothing: there is no cache to clear."""


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: DType | None = None) -> Any:
    """A decorator for the forward of an autograd.Function: it runs with autocast as it is, or off and with
    inputs cast to `cast_inputs`; its backward (custom_bwd) runs alike."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    kind = _kind(device_type)

    @functools.wraps(fwd)
    def run(*args: Any, **options: Any) -> Any:
        args[0]._dtype_of_autocast = state.wanted[kind]
        on = kind in state.active
        args[0]._with_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(*args, **options)
        with autocast("cl" if kind == "cuda" else kind, enabled=False):
            return fwd(*(_converted(a, cast_inputs) for a in args), **options)

    return run


def _converted(value: Any, dtype: DType) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.dtype is not dtypes.float64 else value
    if isinstance(value, list | tuple):
        return type(value)(_converted(v, dtype) for v in value)
    return {k: _converted(v, dtype) for k, v in value.items()} if type(value) is dict else value


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """A decorator for the backward of an autograd.Function whose forward has custom_fwd."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    kind = _kind(device_type)

    @functools.wraps(bwd)
    def run(*args: Any, **options: Any) -> Any:
        block = autocast(
            "cl" if kind == "cuda" else kind, dtype=args[0]._dtype_of_autocast, enabled=args[0]._with_autocast
        )
        with block:
            return bwd(*args, **options)

    return run
