"""Numbers as drawings show them, and `describe`: the graph behind a tensor as an indented tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lazygrad.tensors import Tensor
from lazygrad.viz.history import Value, values_of

SHOWN = 8  # elements of a tensor that are written out


def shown(array: np.ndarray | None, digits: int) -> str:
    """An array in a few words: its number or numbers, or for many how they are spread; "-" for None."""
    if array is None:
        return "-"
    if array.size == 1 and array.ndim == 0:
        return _number(array.item(), digits)
    if array.size <= SHOWN:
        return _listed(array.tolist(), digits)
    if array.dtype == bool:
        return f"{int(array.sum())} of {array.size} true"
    wide = array.astype(np.float64)
    with np.errstate(all="ignore"):
        found = (wide.min(), wide.mean(), wide.max())
    return "{} .. {} .. {}".format(*(_number(float(v), digits) for v in found))


def _number(value: bool | int | float, digits: int) -> str:
    if not isinstance(value, float):
        return str(value)
    small = value != 0 and abs(value) < 0.5 * 10.0**-digits
    return f"{value:.{digits}g}" if small or abs(value) >= 1e16 else f"{value:.{digits}f}"


def _listed(values: Sequence[object] | float, digits: int) -> str:
    if isinstance(values, list):
        return "[" + ", ".join(_listed(v, digits) for v in values) + "]"
    return _number(values, digits)  # type: ignore[arg-type]


def sized(value: Value) -> str:
    """Type and shape of a tensor with dimensions, "" for a single number."""
    if value.shape is None or value.dtype is None or not value.shape:
        return ""
    return f"{value.dtype.name} {'x'.join(map(str, value.shape))}"


def _short(value: Value) -> str:
    name = f"{value.label}=" if value.label else ""
    return name + (shown(value.data, 3) if value.data is not None else "freed")


def _line(value: Value) -> str:
    parts = [shown(value.data, 3) if value.data is not None else "freed", sized(value)]
    if value.requires_grad:
        parts.append(f"gradient={shown(value.grad, 3)}")
    if value.operation is not None:
        parts.append(f"{value.operation}({', '.join(map(_short, value.operands))})")
    return f"{value.label}({' '.join(p for p in parts if p)})"


def describe(tensor: Tensor) -> str:
    """The graph behind a tensor as text: a line for the tensor, and indented below it one for each operand:
    `force(250.000 gradient=1.000 *(mass=25.000, acc=10.000))`.

    What stands in several places is described at the first one and named at the others. Of a tensor with more
    than 8 elements the least, the mean and the greatest are shown. Realizes what it shows; what is not known
    any more is "freed". Raises ArgumentTypeError for what is no tensor.
    """
    lines: list[str] = []
    seen: set[Value] = set()
    stack = [(values_of(tensor)[-1], 0)]
    while stack:
        value, depth = stack.pop()
        if value.is_number:
            continue
        again = value in seen and value.operation is not None
        lines.append("  " * depth + _line(value) + (" as above" if again else ""))
        if not again:
            stack += [(o, depth + 1) for o in reversed(value.operands)]
        seen.add(value)
    return "\n".join(lines)
