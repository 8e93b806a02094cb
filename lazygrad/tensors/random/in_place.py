"""Random numbers in place: the methods that fill a tensor from a generator, in the order of its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazygrad.compositions.randomness import greatest_exact
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.graph import Node
from lazygrad.tensors.core import Tensor, method
from lazygrad.tensors.promotion import NUMBERS
from lazygrad.tensors.random.creators import (
    check_number_probability,
    check_probability,
    draws,
    integers,
    need_float,
    trials,
)
from lazygrad.tensors.random.generator import Generator
from lazygrad.tensors.random.placing import place_of

Build = Callable[..., Node]  # (draws, place, dtype, *settings)


def _filler(name: str, settings: dict[str, float | None], build: Build,
            check: Callable[..., str | None], doc: str, of_integers: bool = False) -> None:
    """Publish a method: `settings` with their defaults, None where there is none; `check` says what is wrong
    with them."""

    def fill(x: Tensor, *args: Any, generator: Generator | None = None, **options: Any) -> Tensor:
        given = settings | dict(zip(settings, args, strict=False))
        by_name = {k.rstrip("_"): v for k, v in options.items()}
        twice = by_name.keys() & set(list(settings)[: len(args)])
        given |= by_name
        if len(args) > len(settings) or set(given) != set(settings) or twice:
            raise ArgumentTypeError(f"[{name}] takes {', '.join(settings)} and generator, got {args} and "
                                    f"{options}")
        for setting, value in given.items():
            if not isinstance(value, NUMBERS) and not (isinstance(value, Tensor) and not value.ndim):
                raise ArgumentTypeError(f"[{name}] {name}(): argument '{setting}' must be Number, not "
                                        f"{type(value).__name__}")
        if not of_integers or x._dtype.kind == "bool":
            need_float(name, x._dtype)
        wrong = check(*given.values())
        if wrong:
            raise ArgumentError(f"[{name}] {wrong}")
        node = build(draws(generator), place_of(x), x._dtype, *given.values())
        return x.write(node, name, replaces=True)

    fill.__name__, fill.__doc__ = name, doc
    method(name)(fill)


def _fails(holds: bool, text: str) -> str | None:
    return None if holds else text


_filler("uniform_", {"from": 0.0, "to": 1.0},
        lambda draw, place, dtype, low, high: draw.uniform(place, dtype, low, high),
        lambda low, high: _fails(low <= high, "uniform_ expects to return a [from, to) range, but found "
                                              f"from={low} > to={high}"),
        "Fill with uniform numbers of [from, to).")
_filler("normal_", {"mean": 0.0, "std": 1.0},
        lambda draw, place, dtype, mean, std: draw.normal(place, dtype, mean, std),
        lambda mean, std: _fails(std >= 0, f"normal_ expects std >= 0.0, but found std={std}"),
        "Fill with normal numbers.")
_filler("exponential_", {"lambd": 1.0},
        lambda draw, place, dtype, rate: draw.exponential(place, dtype, rate),
        lambda rate: _fails(rate > 0, f"exponential_ expects lambda > 0.0, but found lambda={rate}"),
        "Fill with exponentially distributed numbers of a rate.")
_filler("cauchy_", {"median": 0.0, "sigma": 1.0},
        lambda draw, place, dtype, median, sigma: draw.cauchy(place, dtype, median, sigma),
        lambda median, sigma: _fails(sigma > 0, f"cauchy_ expects sigma > 0.0, but found sigma={sigma}"),
        "Fill with numbers of Cauchy's distribution.")
_filler("log_normal_", {"mean": 1.0, "std": 2.0},
        lambda draw, place, dtype, mean, std: draw.log_normal(place, dtype, mean, std),
        lambda mean, std: _fails(std > 0, f"log_normal_ expects std > 0.0, but found std={std}"),
        "Fill with the exponentials of normal numbers.")
_filler("geometric_", {"p": None}, lambda draw, place, dtype, p: draw.geometric(place, dtype, p),
        lambda p: _fails(0 < p < 1, f"geometric_ expects p to be in (0, 1), but got p={p}"),
        "Fill with how many tries of chance p it takes until one succeeds.", of_integers=True)


@method("random_")
def random_(x: Tensor, *bounds: int | None, to: int | None = None, generator: Generator | None = None,
            **options: int) -> Tensor:
    """Fill with integers: random_(from, to) of [from, to), random_(to) of [0, to), random_() of all from 0
    on that the dtype holds exactly, random_(from, None) of those from there on."""
    known = {"from", "to"} - ({"to"} if bounds else set())
    if len(bounds) > 2 or not options.keys() <= known or (bounds and to is not None):
        raise ArgumentTypeError(f"[random_] takes from, to and generator, got {bounds} and {options}")
    low, high = bounds if len(bounds) == 2 else (options.get("from"), bounds[0] if bounds else to)
    for setting, bound in (("from", low), ("to", high)):
        if not isinstance(bound, int | np.integer | Tensor | None) or isinstance(bound, bool):
            raise ArgumentTypeError(f"[random_] random_(): argument '{setting}' must be int, not "
                                    f"{type(bound).__name__}")
    place, dtype = place_of(x), x._dtype
    if low is None and high is None:
        return x.write(draws(generator).whole_range(place, dtype), "random_", replaces=True)
    low = 0 if low is None else low
    if high is None:
        high = greatest_exact(dtype) + 1 if low != -(1 << 63) else 1 << 63
    return x.write(integers("random_", generator, place, low, high, dtype), "random_", replaces=True)


@method("bernoulli_")
def bernoulli_(x: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability p (a number, or a tensor that broadcasts), else 0."""
    if isinstance(p, Tensor):
        check_probability("bernoulli_", p)
    else:
        check_number_probability("bernoulli_", p)
    return x.write(trials(draws(generator), place_of(x), x._dtype, p), "bernoulli_", replaces=True)


@method("trunc_normal_")
def trunc_normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of [a, b]."""
    need_float("trunc_normal_", x._dtype)
    node = draws(generator).truncated_normal(place_of(x), x._dtype, mean, std, a, b)
    return x.write(node, "trunc_normal_", replaces=True)
