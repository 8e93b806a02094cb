"""PyTorch's own samples of its operations, and how they are called in lazygrad.

PyTorch keeps a table of its operations (`torch.testing._internal`) with functions that draw inputs for each:
sizes of 0 and 1, broadcasts, strides, every argument, and wrong inputs with the errors they raise. Here its
values, its functions and those of its functions that are written in Python are turned into lazygrad's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad.errors import UnsupportedError

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's samples of its operations need the package expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal import common_methods_invocations
    from torch.testing._internal.common_methods_invocations import op_db

FOREACH_OPS = [op for kind in ("unary", "binary", "pointwise", "reduce", "other")
               for op in getattr(common_methods_invocations, f"foreach_{kind}_op_db")]
NAMESPACES = (
    "",
    "nn",
    "nn.init",
    "nn.utils",
    "masked",
    "fft",
    "linalg",
    "special",
    "signal.windows",
    "nn.functional",
)
NO_STATE_KEPT = ("freeze_rng_state",)  # helpers of PyTorch's tests that reach into its insides
# what PyTorch computes exactly as 0, or from numbers that differ in their last places
RELATIVE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 3e-5, "float64": 1e-9}


DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
# not what a program calls: PyTorch's own kernels, prototypes and compilers
# (those with `sparse.` have sparse inputs)
INTERNAL = ("torch.ops.", "_", "jiterator", "ops.", "sparse.")


# kinds of tensors that lazygrad refuses, with one error that says so
COMPLEX = ("fft.", "complex", "polar", "view_as_complex", "cfloat", "cdouble", "chalf", "linalg.eig")
SPARSE = ("to_sparse",)


def title(op: Any) -> str:
    return f"{op.name}-{op.variant_test_name}" if op.variant_test_name else op.name


def is_kernel(op: Any) -> bool:
    """Whether only PyTorch's own code calls it, under torch.ops.aten."""
    return isinstance(op.op, torch._ops.OpOverload) or op.name in KERNELS


KERNELS = ("max_pool2d_with_indices_backward",)
KNOWN = [op for op in op_db if not op.name.startswith(INTERNAL) and not is_kernel(op)]
REAL = ("linalg.eigh", "linalg.eigvalsh", "fft.fftshift", "fft.ifftshift")
REFUSED = [
    op
    for op in KNOWN
    if op.name.startswith(SPARSE) or op.name.startswith(COMPLEX) and op.name not in REAL
]
OPS = [op for op in KNOWN if op not in REFUSED]


def samples(op: Any, dtype: Any, gradients: bool) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return list(op.sample_inputs("cpu", dtype, requires_grad=gradients))


def reference_samples(op: Any, dtype: Any) -> list[Any]:
    """Further samples of operations that have some: infinities, NaN, sizes up to a million, broadcasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        drawn = list(op.reference_inputs("cpu", dtype))
    return [s for s in drawn if not any(is_complex_number(v) for v in [*s.args, *s.kwargs.values()])]


def is_complex_number(value: Any) -> bool:
    return isinstance(value, complex) or isinstance(value, torch.Tensor) and value.is_complex()


def first_dtype(op: Any) -> Any:
    """The first type of an operation; None for one of complex numbers or of types of 8 bits and less."""
    return next((d for d in DTYPES if d in op.dtypes), None)


def _paths() -> dict[int, str]:
    """The path below the root of each function that PyTorch has, by its identity."""
    found: dict[int, str] = {id(torch): ""}
    for space in NAMESPACES:
        owner = _at(torch, space)
        found[id(owner)] = space
        for name in dir(owner):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                thing = getattr(owner, name, None)
            if callable(thing) and not isinstance(thing, torch.dtype):
                found[id(thing)] = f"{space}.{name}".removeprefix(".")
    for name in dir(torch.Tensor):
        if not name.startswith("__") or not hasattr(object, name):
            found.setdefault(id(getattr(torch.Tensor, name)), f"Tensor.{name}")
    return found


def _at(owner: Any, path: str) -> Any:
    for word in path.split(".") if path else ():
        owner = getattr(owner, word)
    return owner


_PATHS = _paths()


class UnderTorchName:
    """lazygrad as it is under the name torch."""

    def __getattr__(self, name: str) -> Any:
        return lazygrad.torch_ops if name == "ops" else getattr(lazygrad, name)


class Absent(Exception):
    """PyTorch's function has no counterpart."""


def memory_of(tensor: Any) -> np.ndarray:
    """The elements of a tensor's storage, bits of those that NumPy lacks."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    flat = torch.as_strided(tensor.detach(), (size,), (1,), 0)
    if tensor.dtype is torch.bfloat16:
        flat = flat.view(torch.int16)
    return flat.numpy().copy()


def copied(value: Any) -> Any:
    """The same tensors in memory of their own, with their strides."""
    if isinstance(value, torch.Tensor) and value.device.type == "cpu":
        memory = torch.from_numpy(memory_of(value))
        if value.dtype is torch.bfloat16:
            memory = memory.view(torch.bfloat16)
        fresh = torch.as_strided(memory, value.shape, value.stride(), value.storage_offset())
        return fresh.requires_grad_(value.requires_grad)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(copied(v) for v in value)
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    return value


class Counterparts:
    """lazygrad's counterparts of PyTorch's values, on one device. A tensor that comes twice is one tensor."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.tensors: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.tensor(value)
        if isinstance(value, torch.Size):
            return lazygrad.Size(value)
        if type(value) in (list, tuple):
            return type(value)(self.of(v) for v in value)
        if isinstance(value, dict):
            return {k: self.of(v) for k, v in value.items()}
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            return getattr(lazygrad, str(value).removeprefix("torch."))
        if isinstance(value, torch.device):
            return lazygrad.device(self.device if value.type == "cpu" else str(value))
        if value == "cpu" and isinstance(value, str):
            return self.device.lower()
        if value is torch:
            return UnderTorchName()
        if isinstance(value, types.ModuleType):
            return _at(lazygrad, _PATHS[id(value)]) if id(value) in _PATHS else value
        if isinstance(value, torch.Generator):
            return lazygrad.Generator().manual_seed(value.initial_seed())
        if isinstance(value, torch.nn.Module):  # a distance, without weights
            return self.function(type(value))()
        if dataclasses.is_dataclass(value) and id(type(value)) in _PATHS:  # options
            fields = {f.name: self.of(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return self.function(type(value))(**fields)
        if id(value) in _PATHS or isinstance(value, types.FunctionType):
            return self.function(value)
        return value

    def tensor(self, value: Any) -> Any:
        if value.device.type == "meta":
            return lazygrad.empty(tuple(value.shape), dtype=self.of(value.dtype), device="meta")
        if id(value) not in self.tensors:
            name = str(value.dtype).removeprefix("torch.")
            memory = lazygrad.tensor(memory_of(value), device=self.device)
            if value.dtype is torch.bfloat16:
                memory = memory.view(lazygrad.bfloat16)
            assert memory.dtype is getattr(lazygrad, name)
            made = lazygrad.as_strided(memory, value.shape, value.stride(), value.storage_offset()).detach()
            self.tensors[id(value)] = made.requires_grad_(value.requires_grad), value
        return self.tensors[id(value)][0]

    def function(self, function: Any) -> Any:
        """The function of the same name, or the same Python code over lazygrad."""
        path = _PATHS.get(id(function))
        if isinstance(function, functools.partial):
            return functools.partial(self.function(function.func), **self.of(function.keywords))
        if isinstance(function, torch._ops.OpOverload):
            return _at(lazygrad.torch_ops, str(function))
        if path is not None:
            try:
                return _at(lazygrad, path)
            except AttributeError as problem:
                raise Absent(path) from problem
        if not isinstance(function, types.FunctionType):
            raise Absent(str(function))
        if not function.__module__.startswith("torch."):
            return function
        if function.__name__ in NO_STATE_KEPT:
            return contextlib.nullcontext
        names = _names(function.__code__)
        scope = {name: self.of(value) for name, value in function.__globals__.items() if name in names}
        scope["__builtins__"] = function.__builtins__
        cells = tuple(types.CellType(self.of(c.cell_contents)) for c in function.__closure__ or ())
        defaults = self.of(function.__defaults__)
        made = types.FunctionType(function.__code__, scope, function.__name__, defaults, cells)
        made.__kwdefaults__ = self.of(function.__kwdefaults__)
        return made


def _names(code: types.CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def leaves(value: Any) -> Iterator[Any]:
    """Tensors and numbers of a result, in order."""
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size | lazygrad.Size):
        for v in value:
            yield from leaves(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from leaves(v)
    else:
        yield value


def array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if str(tensor.dtype).endswith("bfloat16") else tensor).numpy(force=True)


def attempt(run: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Exception | None]:
    """What a call gives, and what it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run(*args, **kwargs), None
        except Exception as problem:  # whatever PyTorch or lazygrad raises is compared
            return None, problem


def last_word(thing: Any) -> str:
    return str(thing).rpartition(".")[2]


def differs(got: Any, want: Any, floor: float, exact: Any = None) -> str:
    """How two results differ, in words; nothing where they do not. Numbers are near if they differ by
    little of themselves, of the largest, or of `floor`; or if they are as near to the same computed by
    PyTorch in float64, `exact`, as its own numbers are, which are near to these."""
    if not isinstance(want, torch.Tensor):
        if isinstance(want, torch.dtype | torch.device | torch.layout):
            return "" if last_word(got) == last_word(want) else f"{got} for {want}"
        same = type(got) is type(want) and (got == want or got != got and want != want)
        near = isinstance(want, float) and type(got) is float and np.isclose(got, want, rtol=1e-5)
        return (
            ""
            if same or near or isinstance(want, torch.Size) and tuple(got) == tuple(want)
            else f"{got!r} for {want!r}"
        )
    if not isinstance(got, lazygrad.Tensor):
        return f"{type(got).__name__} for a tensor"
    name = str(want.dtype).removeprefix("torch.")
    if last_word(got.dtype) != name:
        return f"{got.dtype} for {want.dtype}"
    if tuple(got.shape) != tuple(want.shape):
        return f"shape {tuple(got.shape)} for {tuple(want.shape)}"
    a, b = array(got), array(want)
    if a.dtype.kind != "f":
        return (
            ""
            if (a == b).all()
            else f"{(a != b).sum()} of {a.size} differ: {a[a != b][:3]} for {b[a != b][:3]}"
        )
    allowed = RELATIVE[name]
    with np.errstate(all="ignore"):
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = np.abs(b[np.isfinite(b)])
        level = allowed * max(finite.max() if finite.size else 0.0, floor)
        right = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= allowed * np.abs(b) + level)
        if isinstance(exact, torch.Tensor) and exact.shape == want.shape:
            e = array(exact)
            off = np.abs(b - e)
            finite = off[np.isfinite(off)]
            worst = finite.max() if finite.size else 0.0
            near = off <= 0.01 * np.maximum(np.abs(e), max(floor, allowed))
            right |= near & (np.abs(a - e) <= 2 * worst)
        if name == "float16":  # PyTorch sums in another order near the largest number
            right |= np.isinf(a) & (np.abs(b) > 6e4) | np.isinf(b) & (np.abs(a) > 6e4)
    if right.all():
        return ""
    return f"{(~right).sum()} of {a.size} differ: {a[~right][:3]} for {b[~right][:3]}"


def weights(tensor: Any) -> np.ndarray:
    return np.random.default_rng(7).uniform(0.5, 1.5, tuple(tensor.shape))


def describe(sample: Any) -> str:
    words = sample.summary().removeprefix("SampleInput(").replace('device="cpu", ', "").replace("torch.", "")
    return words.replace(", broadcasts_input=False, name=''", "")[:300]


def raised_by(form: Any, sample: Any, device: str = "NUMPY") -> Exception | None:
    """What lazygrad raises at a call, or when its results are computed."""
    inputs = copied([sample.input, list(sample.args), sample.kwargs])
    one = Counterparts(device)

    def run() -> None:
        x, args, kwargs = one.of(inputs)
        results = one.function(form)(x, *args, **kwargs)
        lazygrad.realize(*(r for r in leaves(results) if isinstance(r, lazygrad.Tensor)))

    return attempt(run)[1]


def refusal(form: Any, sample: Any, device: str = "NUMPY") -> list[str]:
    """What is wrong about how a wrong call is refused: at most one thing, in words."""
    inputs = copied([sample.input, list(sample.args), sample.kwargs])
    _, want = attempt(form, inputs[0], *inputs[1], **inputs[2])
    if want is None or "not resizable" in str(want):  # of an out= of NumPy's memory, as all are here
        return []
    got = raised_by(form, sample, device)
    builtin = next(k for k in type(want).__mro__ if k.__module__ == "builtins")
    if isinstance(got, UnsupportedError):  # of complex numbers
        return []
    if isinstance(got, builtin) and not isinstance(got, AssertionError):
        return []
    what = "nothing raised" if got is None else f"{type(got).__name__}: {str(got)[:200]}"
    return [f"{describe(sample)}: {what} for {builtin.__name__}: {str(want)[:200]}"]
