"""Orthogonal polynomials under torch.special's names: each a row of its recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad import dtypes
from lazygrad.errors import ArgumentTypeError
from lazygrad.tensors.core import FUNCTIONS, Tensor
from lazygrad.tensors.promotion import get_default_dtype, result_type
from lazygrad.tensors.values import read

POLYNOMIALS: dict[str, Any] = {}
_First = Callable[[Any], Any]  # x -> the polynomial of degree 1
_Step = Callable[[Any, int, Any, Any], Any]  # (x, k, degree k's, degree k - 1's) -> degree k + 1's


def _twice(x: Any, k: int, p: Any, q: Any) -> Any:
    return 2 * x * p - q


_ROWS: dict[str, tuple[_First, _Step]] = {
    "chebyshev_polynomial_t": (lambda x: x, _twice),
    "chebyshev_polynomial_u": (lambda x: 2 * x, _twice),
    "chebyshev_polynomial_v": (lambda x: 2 * x - 1, _twice),
    "chebyshev_polynomial_w": (lambda x: 2 * x + 1, _twice),
    "hermite_polynomial_h": (lambda x: 2 * x, lambda x, k, p, q: 2 * x * p - 2 * k * q),
    "hermite_polynomial_he": (lambda x: x, lambda x, k, p, q: x * p - k * q),
    "laguerre_polynomial_l": (lambda x: 1 - x, lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)),
    "legendre_polynomial_p": (lambda x: x, lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
}
_SHIFTED = [name for name in _ROWS if name.startswith("chebyshev")]


def _publish(name: str, shifted: bool) -> None:
    first, step = _ROWS[name]
    name = f"shifted_{name}" if shifted else name

    def evaluate(input: Any, n: Any) -> Tensor:
        if not isinstance(input, Tensor) and not isinstance(n, Tensor):
            raise ArgumentTypeError(f"[special.{name}] expected a Tensor among (input, n)")
        x = _argument(input, n)
        x = 2 * x - 1 if shifted else x
        wanted = n.to(dtypes.int64) if isinstance(n, Tensor) else None
        highest = int(n) if wanted is None else int(read(wanted).max(initial=0))
        p, q = FUNCTIONS["ones_like"](x), FUNCTIONS["zeros_like"](x)
        result = q if wanted is None else FUNCTIONS["where"](wanted == 0, p, q)
        for k in range(highest):
            p, q = first(x) if k == 0 else step(x, k, p, q), p
            result = result if wanted is None else FUNCTIONS["where"](wanted == k + 1, p, result)
        return p if wanted is None and highest >= 0 else result

    evaluate.__name__ = evaluate.__qualname__ = name
    evaluate.__doc__ = (f"`{name}` of degree n, a number or a tensor that broadcasts with input; 0 for "
                        "negative n. Reads a tensor n.")
    POLYNOMIALS[name] = evaluate


def _argument(input: Any, n: Any) -> Tensor:
    both = result_type(input, n)
    dtype = both if both.kind == "float" else get_default_dtype()
    if not isinstance(input, Tensor):
        return FUNCTIONS["full"](tuple(n.shape), float(input), dtype=dtype, device=n.device)
    return input.to(dtype)


for _name in _ROWS:
    _publish(_name, False)
for _name in _SHIFTED:
    _publish(_name, True)
