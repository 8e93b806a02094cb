"""Operands: PyTorch's type promotion and broadcasting, and Python numbers beside tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions.axes import broadcast_shape as broadcast
from lazygrad.dtypes import DType, category, promote, pytorch_name
from lazygrad.engine import upload
from lazygrad.errors import ArgumentTypeError, DTypeError, ShapeError
from lazygrad.graph import Node, Scalar
from lazygrad.missing import NO_COMPLEX, refuse
from lazygrad.tensors.core import Size, Tensor, apply, creator, from_node
from lazygrad.tensors.devices import canonical_device

NUMBERS = (bool, int, float, complex, np.generic)  # complex ones are refused, by name


class _Default:
    float = dtypes.float32


@creator()
def get_default_dtype() -> DType:
    """The type that floats get where none is named: float32 at first."""
    return _Default.float


@creator()
def set_default_dtype(d: DType) -> None:
    """Choose the type that floats get where none is named. Raises ArgumentTypeError unless it is a float
    type."""
    if not isinstance(d, DType) or d.kind != "float":
        raise ArgumentTypeError(
            f"[set_default_dtype] only floating-point types are supported as the default type, not {d!r}"
        )
    _Default.float = d


def number_dtype(value: Any) -> DType:
    """The type that a Python or NumPy number stands for among operands."""
    if isinstance(value, bool | np.bool_):
        return dtypes.bool_
    if isinstance(value, complex | np.complexfloating):
        refuse("result_type", NO_COMPLEX)
    return dtypes.int64 if isinstance(value, int | np.integer) else _Default.float


@creator()
def result_type(*operands: Any) -> DType:
    """PyTorch's result type: tensors with dimensions first, then 0-d tensors, then numbers; a later one only
    counts where its category (bool, integer, float) is higher."""
    groups: list[DType | None] = [None, None, None]
    for operand in operands:
        if isinstance(operand, Tensor):
            place, d = (0 if operand.ndim else 1), operand._dtype
        else:
            place, d = 2, number_dtype(operand)
        before = groups[place]
        groups[place] = d if before is None or before is d else promote(before, d)
    result: DType | None = None
    for group in groups:
        if group is not None and (result is None or category(group) > category(result)):
            # bool beside a higher one promotes, which not all types do
            result = promote(result, group) if result is dtypes.bool_ else group
    assert result is not None
    return result


@creator()
def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest type that both convert to."""
    return promote(type1, type2)


@creator()
def can_cast(from_: DType, to: DType) -> bool:
    """True where an in-place operation may store `from_` in `to`: the category must not fall."""
    return category(from_) <= category(to)


def check_castable(name: str, result: DType, target: DType) -> None:
    """Raises DTypeError where an in-place result of type `result` does not fit into a tensor of type
    `target`."""
    if category(result) > category(target):
        raise DTypeError(
            f"[{name}] result type {pytorch_name(result)} can't be cast to the desired output "
            "type "
            f"{pytorch_name(target)}: use the form that makes a new tensor"
        )


@creator()
def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that shapes, or single sizes, broadcast to."""
    listed = [s if isinstance(s, tuple | list) else (s,) for s in shapes]
    for n in (n for shape in listed for n in shape):
        if not hasattr(n, "__index__"):
            raise ArgumentTypeError(f"[broadcast_shapes] a shape is an int or a tuple of ints, not "
                                    f"{type(n).__name__} ({n!r})")
        if n < 0:
            raise ShapeError(f"[broadcast_shapes] cannot broadcast a dimension of negative length, got {n}")
    return Size(broadcast("broadcast_shapes", (), *map(tuple, listed)))


def stretch(node: Node, shape: tuple[int, ...]) -> Node:
    """A node broadcast to a shape that it fits: axes of size 1 put in front, then grown."""
    if node.shape == shape:
        return node
    return axes.expand(axes.reshape(node, (1,) * (len(shape) - node.ndim) + node.shape), shape)


def converted(node: Node, dtype: DType) -> Node:
    """A node cast to a type, itself where it has it."""
    if node.dtype is dtype:
        return node
    if node.op.name == "const":
        value = node.arg.value
        if node.dtype.kind != "float" or dtype.kind == "float":
            return ops.const(value, dtype, node.shape)
    return ops.cast(node, arg=dtype)


def check_operand(name: str, value: Any) -> Any:
    """A tensor or a Python number; arrays become tensors. Raises ArgumentTypeError for anything else."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, complex):
        refuse(name, NO_COMPLEX)
    if isinstance(value, np.ndarray):
        where = canonical_device(None)
        return from_node(upload(value, known_dtype(name, value), where), where)
    raise ArgumentTypeError(f"[{name}] expected a Tensor or a number, not {type(value).__name__}")


def check_operands(name: str, *values: Any) -> list[Any]:
    """`check_operand` of each. Raises ArgumentTypeError for numbers alone."""
    checked = [check_operand(name, value) for value in values]
    if not any(isinstance(value, Tensor) for value in checked):
        kinds = ", ".join(type(value).__name__ for value in values)
        raise ArgumentTypeError(
            f"[{name}] {name}() needs a Tensor among its arguments, got ({kinds}): make one of them a tensor "
            "with lazygrad.tensor(...)"
        )
    return checked


def check_tensor(name: str, value: Any, argument: str, place: int) -> Tensor:
    """A tensor where PyTorch takes no number; arrays become tensors. Raises ArgumentTypeError for anything
    else."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray):
        raise ArgumentTypeError(
            f"[{name}] {name}(): argument '{argument}' (position {place}) must be Tensor, not "
            f"{type(value).__name__}: make it one with lazygrad.tensor(...)"
        )
    made: Tensor = check_operand(name, value)
    return made


def check_same_type(name: str, **tensors: Tensor | None) -> None:
    """Raises DTypeError unless all tensors have the first one's type."""
    (first, x), *rest = tensors.items()
    assert x is not None
    for argument, y in rest:
        if y is not None and y._dtype is not x._dtype:
            raise DTypeError(
                f"[{name}] expected scalar type {pytorch_name(x._dtype)}, which {first} has, but found "
                f"{pytorch_name(y._dtype)} in {argument}: convert one of them with .to(dtype)"
            )


def known_dtype(name: str, array: np.ndarray) -> DType:
    """The lazygrad type of an array. Raises ArgumentTypeError where there is none."""
    d = dtypes.from_numpy(array.dtype)
    if array.dtype.kind == "c":
        refuse(name, NO_COMPLEX)
    if d is None:
        raise ArgumentTypeError(
            f"[{name}] can't convert np.ndarray of type {array.dtype}: there are "
            f"{', '.join(d.name for d in dtypes.ALL)}"
        )
    return d


def elementwise(name: str, build: Any, operands: Sequence[Any], dtype: DType | None = None) -> Tensor:
    """Apply an elementwise node builder to tensors and numbers, cast to one type and broadcast to one shape.

    `dtype` is the type to compute in: the promoted one by default.
    """
    target = dtype or result_type(*operands)
    tensors = [o for o in operands if isinstance(o, Tensor)]
    if not tensors:  # numbers alone give a tensor without dimensions
        where = canonical_device(None)
        tensors = [from_node(constant(name, operands[0], target, ()), where)]
        operands = (tensors[0], *operands[1:])
    shape = broadcast(name, *[t._shape for t in tensors])

    def make(*nodes: Node) -> Node:
        rest = iter(nodes)
        return build(
            *[
                stretch(converted(next(rest), target), shape)
                if isinstance(o, Tensor)
                else constant(name, o, target, shape)
                for o in operands
            ]
        )

    return apply(name, make, *tensors)


def rounded_once(name: str, build: Any, operands: Sequence[Any], dtype: DType | None = None) -> Tensor:
    """`elementwise`, but what is of a 16-bit float type is computed in float32, from numbers with all their
    digits, and rounded at the end."""
    target = dtype or result_type(*operands)
    wide = target.accumulator
    if wide is target:
        return elementwise(name, build, operands, target)
    return elementwise(name, lambda *nodes: converted(build(*nodes), target), operands, wide)


def by_number(name: str, build: Any, operands: tuple[Any, Any], dtype: DType | None = None) -> Tensor:
    """`elementwise` of two operands; beside 16-bit floats a number, or a second operand without dimensions,
    keeps all its digits, as in PyTorch's products and quotients."""
    x, y = operands
    target = dtype or result_type(x, y)
    both = isinstance(x, Tensor) and isinstance(y, Tensor)
    is_number = not both or (not y.ndim and y._dtype is not target)
    return (rounded_once if is_number else elementwise)(name, build, operands, target)


def constant(name: str, value: Scalar, dtype: DType, shape: tuple[int, ...]) -> Node:
    """A Python number as a constant of a type. Raises DTypeError where an integer type cannot hold it."""
    if dtype.is_integer and isinstance(value, int) and not -(1 << 63) <= value < (1 << 64):
        raise DTypeError(f"[{name}] {value} does not fit into {dtype!r}: it holds {dtype.min} to {dtype.max}")
    if dtype.is_integer and isinstance(value, float) and value != value:
        value = 0
    return ops.const(value, dtype, shape)
