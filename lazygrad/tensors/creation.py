"""New tensors from numbers, lists and arrays, and filled ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.engine import upload
from lazygrad.errors import ArgumentTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.missing import check_type
from lazygrad.ops.elementwise import convert
from lazygrad.tensors import promotion
from lazygrad.tensors.axes import integer, sizes_of
from lazygrad.tensors.core import Tensor, creator, from_node, method
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.elements import array_of, fitting
from lazygrad.tensors.promotion import (
    check_operand,
    check_tensor,
    converted,
    known_dtype,
    number_dtype,
    result_type,
)
from lazygrad.tensors.views import check_apart


@creator("tensor")
def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new leaf with a copy of `data`: a number, nested lists, a NumPy array or a Tensor.

    Floats get the default float type, integers int64, bools bool; arrays keep their type. Raises
    ArgumentTypeError for other data, ArgumentError for lists of unequal lengths, for tensors of several
    elements in lists, and for numbers that an integer type cannot hold.
    """
    where = usable_device(device)
    checked_dtype("tensor", dtype)
    if isinstance(data, Tensor):
        made = from_node(converted(data.to(where).plain_node(), dtype or data._dtype), where)
    else:
        made = from_node(_data_node("tensor", data, dtype, where), where)
    return made.requires_grad_() if requires_grad else made


def _data_node(name: str, data: Any, dtype: DType | None, device: str) -> Node:
    if isinstance(data, bool | int | float | np.generic):
        given = known_dtype(name, np.asarray(data)) if isinstance(data, np.generic) else number_dtype(data)
        value = data.item() if isinstance(data, np.generic) else data
        return ops.scalar(fitting(name, value, dtype or given), dtype or given)
    array = data if isinstance(data, np.ndarray) else array_of(name, data, dtype)
    target = dtype or known_dtype(name, array)
    if not array.ndim:
        return ops.scalar(fitting(name, array.item(), target), target)
    source = known_dtype(name, array)
    values = array if source is target else convert(array, source, target)
    return upload(np.asarray(values), target, device)


@creator("scalar_tensor")
def scalar_tensor(
    s: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A 0-d tensor; of the default float type where none is given."""
    value = s.item() if isinstance(s, Tensor) else s
    target = dtype or promotion.get_default_dtype()
    return filled("scalar_tensor", (), value, target, device, requires_grad)


@creator("is_tensor")
def is_tensor(obj: Any) -> bool:
    """Whether an object is a Tensor."""
    return isinstance(obj, Tensor)


# Filled


def filled(
    name: str, size: Sequence[int], value: Any, dtype: DType, device: Any, requires_grad: bool
) -> Tensor:
    """A tensor of a shape that holds one number, for a creator of this name. Raises ShapeError for negative
    sizes."""
    if any(n < 0 for n in size):
        raise ShapeError(
            f"[{name}] Trying to create tensor with negative dimension {min(size)}: {list(size)}"
        )
    value = fitting(name, value, checked_dtype(name, dtype))
    made = from_node(ops.const(value, dtype, tuple(size)), usable_device(device))
    return made.requires_grad_() if requires_grad else made


def checked_dtype(name: str, dtype: Any) -> Any:
    """A dtype argument, or None. Raises ArgumentTypeError for anything else."""
    check_type(name, dtype)
    if dtype is not None and not isinstance(dtype, DType):
        raise ArgumentTypeError(f"[{name}] dtype must be a dtype such as lazygrad.float32, not {dtype!r}")
    return dtype


def _filler(name: str, value: int) -> None:
    def fill(
        *sizes: Any,
        size: Any = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        shape = sizes_of(name, sizes, size)
        return filled(name, shape, value, dtype or promotion.get_default_dtype(), device, requires_grad)

    def fill_like(
        input: Tensor,
        *,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        where = input.device if device is None else device
        return filled(name + "_like", input._shape, value, dtype or input._dtype, where, requires_grad)

    def new(
        x: Tensor,
        *sizes: Any,
        size: Any = None,
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Tensor:
        shape = sizes_of(name, sizes, size)
        where = x.device if device is None else device
        return filled("new_" + name, shape, value, dtype or x._dtype, where, requires_grad)

    fill.__doc__ = f"A tensor of a shape, filled as `{name}`; of the default float type where none is given."
    fill_like.__doc__ = f"`{name}` in the shape, type and device of another tensor."
    new.__doc__ = f"`{name}` in another shape, of this tensor's type and device."
    fill.__name__, fill_like.__name__, new.__name__ = name, name + "_like", "new_" + name
    creator(name)(fill)
    creator(name + "_like")(fill_like)
    method("new_" + name)(new)


for _name, _value in {"zeros": 0, "ones": 1, "empty": 0}.items():
    _filler(_name, _value)


@creator("full")
def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    layout: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of a shape filled with one value, whose kind decides the type where none is given."""
    value, shape = check_operand("full", fill_value), sizes_of("full", (), size)
    if not isinstance(value, Tensor):
        return filled("full", shape, value, dtype or number_dtype(value), device, requires_grad)
    # as of the number that it holds
    types = {"bool": dtypes.bool_, "float": promotion.get_default_dtype()}
    target = dtype or types.get(value._dtype.kind, dtypes.int64)
    where = value.device if device is None else device
    made = value.to(where, target).expand(shape).clone()
    return made.requires_grad_() if requires_grad else made


@creator("full_like")
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of another's shape, type and device, filled with one value."""
    check_tensor("full_like", input, "input", 1)
    return full(
        input._shape,
        fill_value,
        dtype=dtype or input._dtype,
        device=input.device if device is None else device,
        requires_grad=requires_grad,
    )


@method("new_full")
def new_full(
    x: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A filled tensor of another shape, of this tensor's type and device."""
    where = x.device if device is None else device
    return full(size, fill_value, dtype=dtype or x._dtype, device=where, requires_grad=requires_grad)


@method("new_tensor")
def new_tensor(
    x: Tensor, data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of data, of this tensor's type and device."""
    where = x.device if device is None else device
    return tensor(data, dtype=dtype or x._dtype, device=where, requires_grad=requires_grad)


# Sequences


@creator("arange")
def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end; int64 for integers. Raises ShapeError where step leads away from
    end."""
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (v.item() if isinstance(v, Tensor | np.generic) else v for v in (start, end, step))
    if dtype is dtypes.int64 and all(math.isfinite(v) for v in (start, end, step)):
        start, end, step = int(start), int(end), int(step)  # before counting: narrower integers are cut after
    if step == 0:
        raise ShapeError("[arange] step must be nonzero")
    if not all(math.isfinite(v) for v in (start, end, step)):
        raise ShapeError(f"[arange] unsupported range: {start} -> {end} by {step}")
    if (end - start) * step < 0:
        raise ShapeError(
            f"[arange] upper bound and lower bound inconsistent with step sign: {start} to {end} by {step}"
        )
    target = dtype or result_type(start, end, step)
    target = dtypes.int64 if dtype is None and target is dtypes.bool_ else target
    count = (
        max(math.ceil((end - start) / step), 0)
        if float in map(type, (start, end, step))
        else max(-((start - end) // step), 0)
    )
    if target.is_integer:
        start, step = int(start), int(step)
    made = from_node(_progression(start, step, count, target), usable_device(device))
    return made.requires_grad_() if requires_grad else made


def _progression(start: Any, step: Any, count: int, target: DType) -> Node:
    exact = dtypes.int64 if not isinstance(start, float) and not isinstance(step, float) else dtypes.float64
    places = converted(ops.iota(count), exact)
    scaled = places if step == 1 else ops.mul(places, ops.like(step, places))
    moved = scaled if start == 0 else ops.add(scaled, ops.like(start, scaled))
    return converted(moved, target)


@creator("range")
def range_(start: Any = 0, end: Any = None, step: Any = 1, **options: Any) -> Tensor:
    """start, start + step, ... up to and including end."""
    return arange(start, end + step / 2, step, **{"dtype": promotion.get_default_dtype(), **options})


@creator("linspace")
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` numbers from start to end, both included, at equal distance; as integers, from the integer part
    of start to that of end, each cut off."""
    target = dtype or promotion.get_default_dtype()
    exact = target if target.kind == "float" else dtypes.float64
    line = _between("linspace", start, end, steps, target, exact)
    made = from_node(converted(line, target), usable_device(device))
    return made.requires_grad_() if requires_grad else made


def _between(name: str, start: Any, end: Any, steps: int, target: DType, exact: DType) -> Node:
    """Numbers at equal distance, computed in the type `exact` from both ends towards the middle, as PyTorch
    does, so that both ends are exact."""
    for v in (start, end):
        if isinstance(v, Tensor) and v.ndim:
            raise ShapeError(f"[{name}] {name} only supports 0-dimensional start and end tensors, got one of "
                             f"shape {tuple(v._shape)}")
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    steps = integer(name, "steps", steps)
    if steps < 0:
        raise ShapeError(f"[{name}] number of steps must be non-negative, not {steps}")
    first, last = (_rounded(v, target) for v in (start, end))
    step = _rounded(_rounded(last - first, exact) / (steps - 1), exact) if steps > 1 else 0.0
    places = ops.iota(steps)
    forward = _line(first, step, places, exact)
    backward = _line(last, -step, ops.sub(ops.like(steps - 1, places), places), exact)
    return ops.where(ops.lt(places, ops.like(steps // 2 if steps > 1 else 1, places)), forward, backward)


def _power(base: float, exponent: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(base) ** np.float64(exponent))


def _rounded(number: float, dtype: DType) -> float:
    """A number as this type holds it; the integer part for integers."""
    if dtype.kind != "float":
        return int(number)
    return float(dtypes.round_to(np.asarray(number, np.float64), dtype))


def _line(start: float, step: float, places: Node, dtype: DType) -> Node:
    """start + step * places; rounded once where start is an integer, since the result is cut off to one."""
    at = ops.cast(places, arg=dtype)
    begin = ops.const(start, dtype, places.shape)
    if not isinstance(start, int):
        return ops.add(ops.mul(at, ops.const(step, dtype, places.shape)), begin)
    high = float(np.float32(step))  # times a place, it is exact
    moved, rest = (ops.mul(at, ops.const(part, dtype, places.shape)) for part in (high, step - high))
    total = ops.add(begin, moved)
    back = ops.sub(total, begin)
    lost = ops.add(ops.sub(begin, ops.sub(total, back)), ops.sub(moved, back))
    return ops.add(total, ops.add(lost, rest))


@creator("logspace")
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """base raised to each of `steps` exponents from start to end; as integers, from the integer part of start
    to that of end, each power cut off."""
    target = dtype or promotion.get_default_dtype()
    if steps == 1:  # PyTorch keeps the fraction of a single exponent
        start = start.item() if isinstance(start, Tensor) else start
        made = filled("logspace", (1,), _rounded(_power(base, start), target), target, device, False)
    else:
        exact = promotion.promote(target, dtypes.float32) if target.kind == "float" else dtypes.float64
        exponents = _between("logspace", start, end, steps, target, exact)
        powers = ops.pow_(ops.const(base, exact, exponents.shape), exponents)
        made = from_node(converted(powers, target), usable_device(device))
    return made.requires_grad_() if requires_grad else made


@creator("eye")
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal of an n x m matrix (n x n by default)."""
    shape = sizes_of("eye", (n, n if m is None else m))
    if min(shape) < 0:
        raise ShapeError(f"[eye] n and m must be greater or equal to 0, got {shape[0]} and {shape[1]}")
    rows = ops.expand(ops.reshape(ops.iota(shape[0]), arg=(shape[0], 1)), arg=shape)
    columns = ops.expand(ops.reshape(ops.iota(shape[1]), arg=(1, shape[1])), arg=shape)
    node = ops.cast(ops.eq(rows, columns), arg=dtype or promotion.get_default_dtype())
    made = from_node(node, usable_device(device))
    return made.requires_grad_() if requires_grad else made


# In place


@method("fill_")
def fill_(x: Tensor, value: Any) -> Tensor:
    """Every element becomes `value`, a number or a 0-d tensor."""
    value = check_operand("fill_", value)
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(
                "[fill_] fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.ndim} "
                f"dimensions."
            )
        return x.copy_(value)
    value = fitting("fill_", value, x._dtype)
    return x.write(ops.const(value, x._dtype, x._shape), "fill_", True, repeats=True)


@creator("fill")
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like input with every element `value`."""
    return input.clone().fill_(value)


@method("zero_")
def zero_(x: Tensor) -> Tensor:
    """Every element becomes 0."""
    return x.write(ops.const(0, x._dtype, x._shape), "zero_", True, repeats=True)


@method("copy_")
def copy_(x: Tensor, src: Tensor | float, non_blocking: bool = False) -> Tensor:
    """x takes the values of src, broadcast, converted and moved to its device."""
    source = src if isinstance(src, Tensor) else tensor(src)
    if source.ndim:
        check_apart("copy_", x, [source])
    source = source.to(device=x.device, dtype=x._dtype)
    source = source if source._shape == x._shape else source.expand(x._shape)
    return x.write(source, "copy_", replaces=True)
