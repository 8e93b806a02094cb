"""Random numbers: the creators that draw from a generator, from counters or as PyTorch does (the setting
RNG)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazygrad import config, dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions.incomplete_gamma import gamma_slope
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from lazygrad.graph import Node, Shape
from lazygrad.tensors.axes import integer, sizes_of
from lazygrad.tensors.core import Tensor, apply, creator, from_node, method
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.elementwise import where
from lazygrad.tensors.limits import finfo
from lazygrad.tensors.promotion import get_default_dtype
from lazygrad.tensors.random.counter_draws import CounterDraws
from lazygrad.tensors.random.generator import Generator, chosen
from lazygrad.tensors.random.placing import Place, place_like, place_of
from lazygrad.tensors.random.torch_draws import TorchDraws
from lazygrad.tensors.recording import now
from lazygrad.tensors.shapes import broadcast_tensors
from lazygrad.tensors.values import read

Draws = CounterDraws | TorchDraws
_METHODS: dict[str, Callable[[Generator], Draws]] = {"counter": CounterDraws, "torch": TorchDraws}


def draws(generator: Generator | None) -> Draws:
    """What draws from a generator (the default one for None), by the method that is set."""
    return _METHODS[config.get("RNG")](chosen(generator))


def need_float(op: str, dtype: DType) -> None:
    """Raises DTypeError for other types."""
    if dtype.kind != "float":
        raise DTypeError(f'[{op}] "{op}" is not implemented for {dtype!r}: take a floating point dtype')


# Creators


def _float_creator(name: str, make: Callable[[Draws, Place, DType], Node], doc: str) -> None:
    def create(
        *sizes: Any,
        size: Any = None,
        generator: Generator | None = None,
        out: Tensor | None = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
    ) -> Tensor:
        shape = _shape(name, sizes if size is None else (size,))
        dtype = dtype or (out._dtype if out is not None else get_default_dtype())
        need_float(name, dtype)
        place = _place(shape, device, out)
        made = from_node(make(draws(generator), place, dtype), place.device)
        made = made if out is None else out.copy_(made)
        return made.requires_grad_() if requires_grad else made

    def create_like(
        input: Tensor,
        *,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        generator: Generator | None = None,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        dtype = dtype or input._dtype
        need_float(f"{name}_like", dtype)
        place = place_like(input, usable_device(input.device if device is None else device))
        made = from_node(make(draws(generator), place, dtype), place.device)
        return made.requires_grad_() if requires_grad else made

    create.__name__, create.__doc__ = name, doc
    create_like.__name__, create_like.__doc__ = (
        f"{name}_like",
        f"`{name}` with the shape, dtype and device of input.",
    )
    creator(name)(create)
    creator(f"{name}_like")(create_like)


def _shape(op: str, size: Sequence[Any]) -> Shape:
    shape = sizes_of(op, size)
    if any(n < 0 for n in shape):
        raise ShapeError(f"[{op}] Trying to create tensor with negative dimension: {list(shape)}")
    return shape


def _place(shape: Shape, device: Any, out: Tensor | None) -> Place:
    """Where a creator's numbers go."""
    if out is not None:
        return place_of(out._resize_output_(shape))
    return Place(tuple(shape), usable_device(device))


_float_creator("rand", lambda draw, place, dtype: draw.uniform(place, dtype),
               "Uniform numbers of [0, 1) of a shape.")
_float_creator("randn", lambda draw, place, dtype: draw.normal(place, dtype),
               "Normal numbers with mean 0 and deviation 1 of a shape.")


def integers(op: str, generator: Generator | None, place: Place, low: int, high: int, dtype: DType) -> Node:
    """Integers of [low, high). Raises ArgumentError for an empty range and for one that dtype does not
    hold."""
    if low >= high:
        raise ArgumentError(f"[{op}] random_ expects 'from' to be less than 'to', but got from={low} "
                                   f">= to={high}")
    if dtype.kind != "float" and not (dtype.min <= low and high - 1 <= dtype.max):
        raise ArgumentError(f"[{op}] from - to [{low}, {high}) is out of bounds for {dtype!r}")
    return draws(generator).integers(place, dtype, low, high)


@creator("randint")
def randint(
    *args: Any,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    low: int | None = None,
    high: int | None = None,
    size: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """randint(low=0, high, size): integers of [low, high) of a shape; int64 unless told."""
    given = list(args)
    if size is None:
        if not given or not isinstance(given[-1], tuple | list):
            raise ArgumentTypeError(f"[randint] expected (low, high, size) or (high, size), got {args}")
        size = given.pop()
    high = given.pop() if high is None and given else high
    low = given.pop() if low is None and given else 0 if low is None else low
    if high is None or given:
        raise ArgumentTypeError(f"[randint] expected (low, high, size) or (high, size), got {args}")
    dtype = dtype or (out._dtype if out is not None else dtypes.int64)
    place = _place(_shape("randint", (size,)), device, out)
    low, high = integer("randint", "low", low), integer("randint", "high", high)
    made = from_node(integers("randint", generator, place, low, high, dtype), place.device)
    made = made if out is None else out.copy_(made)
    return made.requires_grad_() if requires_grad else made


@creator("randint_like")
def randint_like(input: Tensor, *bounds: int, dtype: DType | None = None, layout: Any = None,
                 device: Any = None, requires_grad: bool = False, low: int = 0, high: int | None = None,
                 generator: Generator | None = None) -> Tensor:
    """`randint` with the shape, dtype and device of input."""
    if len(bounds) > 2:
        raise ArgumentTypeError("[randint_like] expected (input, low, high) or (input, high), got "
                                f"{len(bounds)} bounds")
    low, high = bounds if len(bounds) == 2 else (low, bounds[0] if bounds else high)
    if high is None:
        raise ArgumentTypeError("[randint_like] expected (input, low, high) or (input, high), got no bound")
    place = place_like(input, usable_device(input.device if device is None else device))
    low, high = integer("randint_like", "low", low), integer("randint_like", "high", high)
    node = integers("randint_like", generator, place, low, high, dtype or input._dtype)
    made = from_node(node, place.device)
    return made.requires_grad_() if requires_grad else made


@creator("randperm")
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType = dtypes.int64,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The integers 0 .. n-1 in random order."""
    if n < 0:
        raise ShapeError(f"[randperm] n must be non-negative, got {n}")
    where = usable_device(device)
    made = from_node(draws(generator).permutation(n, dtype, where), where)
    return made.requires_grad_() if requires_grad else made


@creator("normal")
def normal(mean: float | Tensor = 0.0, std: float | Tensor = 1.0, size: Any = None, *,
           generator: Generator | None = None, out: Tensor | None = None, dtype: DType | None = None,
           layout: Any = None, device: Any = None, requires_grad: bool = False,
           pin_memory: bool = False) -> Tensor:
    """Normal numbers of a mean and deviation: numbers with a size, or tensors that broadcast."""
    tensors = [v for v in (mean, std) if isinstance(v, Tensor)]
    if not isinstance(std, Tensor) and std < 0:
        raise ArgumentError(f"[normal] normal expects std >= 0.0, but found std {std}")
    if tensors and size is not None:
        raise ArgumentTypeError("[normal] takes no size beside a mean or a std that is a tensor: the result "
                                "has the shape that they broadcast to")
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        if size is None:
            raise ArgumentTypeError("[normal] a mean and a std that are numbers need a size")
        dtype = dtype or (out._dtype if out is not None else get_default_dtype())
        need_float("normal", dtype)
        place = _place(_shape("normal", (size,)), device, out)
        made = from_node(draws(generator).normal(place, dtype, mean, std), place.device)
    else:
        shape = axes.broadcast_shape("normal", *(tuple(t._shape) for t in tensors))
        place = Place(shape, tensors[0].cell.device)
        dtype = tensors[0]._dtype
        node = draws(generator).normal(place, dtype, 0.0, 1.0 if isinstance(std, Tensor) else std)
        spread = from_node(node, place.device)
        mean, std = (v.detach() if isinstance(v, Tensor) else v for v in (mean, std))
        if isinstance(std, Tensor):
            spread = (spread * std).to(dtype)  # rounded in between, as PyTorch does
        made = _drawn("normal", (spread + mean).to(dtype), *tensors)
    made = made if out is None else out.copy_(made)
    return made.requires_grad_() if requires_grad else made


def _drawn(name: str, made: Tensor, *sources: Tensor) -> Tensor:
    """Numbers drawn by what `sources` say: as in PyTorch, the derivative by these is 0."""
    def gradient(g: Node, value: Node, *inputs: Node) -> tuple[Node, ...]:
        return tuple(ops.like(0, n) for n in inputs)

    return apply(name, lambda value, *inputs: ops.surrogate(value, *inputs, arg=gradient), made, *sources)


def check_probability(op: str, p: Tensor) -> None:
    """Raises ArgumentError."""
    if now.recorder is not None:
        return  # a replay reads nothing
    values = read(p)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ArgumentError(f"[{op}] expects all probabilities p to satisfy 0 <= p <= 1, got "
                            f"{float(values.min())} to {float(values.max())}")


def check_number_probability(op: str, p: float) -> None:
    """Raises ArgumentError."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"[{op}] expects p to be in [0, 1], but got p={p}")


@creator("bernoulli")
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that input (or p) says, else 0, in input's dtype. Realizes input, to check it,
    except in a call that `jit` records."""
    if p is not None:
        check_number_probability("bernoulli", p)
    else:
        need_float("bernoulli", input._dtype)
        check_probability("bernoulli", input)
    device = input.cell.device
    made = from_node(trials(draws(generator), Place(tuple(input._shape), device), input._dtype,
                             input if p is None else p), device)
    return _drawn("bernoulli", made, input)


def trials(draw: Draws, place: Place, dtype: DType, p: Tensor | float) -> Node:
    """1 with a probability (a number, or a tensor that broadcasts), else 0."""
    if not isinstance(p, Tensor):
        return axes.cast(draw.chance(place, p), dtype)
    number = draw.uniform(place, dtypes.float64 if p._dtype is dtypes.float64 else dtypes.float32)

    def build(x: Node) -> Node:
        limit = axes.broadcast(axes.cast(x, number.dtype), number.shape)
        return axes.cast(ops.lt(number, limit), dtype)

    return apply("bernoulli", build, p.detach()).plain_node()


def kept(input: Tensor, shape: Shape, p: float) -> Tensor:
    """1 with probability p, else 0, of a shape in input's dtype, drawn in the order of input's elements
    where it has that shape."""
    alike = tuple(shape) == tuple(input._shape)
    place = place_like(input) if alike else Place(tuple(shape), input.cell.device)
    return from_node(trials(draws(None), place, input._dtype, p), place.device)


def slopes(input: Tensor, low: float, high: float) -> Tensor:
    """Numbers of [low, high) for the elements of a tensor that are not positive. Reads it with `RNG=torch`,
    which draws none for the others."""
    place = place_like(input)
    return from_node(draws(None).slopes(input.detach(), place, low, high), place.device)


@method("bernoulli")
def _bernoulli_method(x: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that the element (or p) says, else 0."""
    return bernoulli(x, p, generator=generator)


def _check_weights(op: str, weights: np.ndarray, fewest: int) -> None:
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ArgumentError(f"[{op}] probability tensor contains either `inf`, `nan` or element < 0")
    if ((weights > 0).sum(-1) < fewest).any():
        raise ArgumentError(f"[{op}] invalid multinomial distribution (sum of probabilities <= 0, or fewer "
                            f"non-zero categories than samples)")


@creator("multinomial")
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *,
                generator: Generator | None = None) -> Tensor:
    """int64 (..., num_samples): columns drawn with the weights of each row of input (n) or (m, n). Realizes
    input, to check it, except in a call that `jit` records. Raises ArgumentError for weights that are
    negative, not finite or all 0."""
    op = "multinomial"
    if input.ndim not in (1, 2) or num_samples < 1:
        raise ShapeError(f"[{op}] needs 1 or 2 dimensions and at least one sample, got {tuple(input._shape)} "
                         f"and {num_samples}")
    need_float(op, input._dtype)
    if not replacement and num_samples > input._shape[-1]:
        raise ShapeError(f"[{op}] cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
                         f"{num_samples} of {input._shape[-1]}")
    values = read(input) if now.recorder is None else None
    if values is not None:
        _check_weights(op, values, 1 if replacement else num_samples)
    return draws(generator).columns(input.detach(), num_samples, replacement, values)


@method("multinomial")
def _multinomial_method(x: Tensor, num_samples: int, replacement: bool = False, *,
                        generator: Generator | None = None) -> Tensor:
    """Columns drawn with the weights of each row."""
    return multinomial(x, num_samples, replacement, generator=generator)


@creator("poisson")
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts of Poisson's distribution with the rates of input, in its dtype. Realizes input, to know how far
    to count.
    """
    op = "poisson"
    need_float(op, input._dtype)
    rates = read(input)
    if rates.size and not (rates >= 0).all():
        raise ArgumentError(f"[{op}] expects all elements of input to be non-negative")
    return _drawn(op, draws(generator).counts(input.detach(), rates), input)


@creator("binomial")
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` tries succeed, each with probability `prob`, in their dtype; both broadcast.
    Realizes count, to know how many tries to draw: memory for the greatest of them. With `RNG=torch` prob is
    read too, and single numbers are drawn for many tries."""
    if count._dtype is not prob._dtype:
        raise DTypeError("[binomial] count and prob are of one dtype, not "
                         f"{count._dtype!r} and {prob._dtype!r}: convert one with .to()")
    need_float("binomial", count._dtype)
    count, prob = broadcast_tensors(count.detach(), prob.detach())
    return draws(generator).successes(count, prob, read(count))


@creator("_von_mises")
def von_mises(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Angles of von Mises' distribution around 0, float64, with the concentrations of a float64 tensor, which
    is read with `RNG=torch`."""
    k = concentration.detach()
    tau = 1 + (1 + 4 * k**2).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * k)
    exact = (1 + rho**2) / (2 * rho)
    return draws(generator).angles(k, where(k < 1e-5, 1 / k + k, exact))


@creator("_standard_gamma")
def standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma distributed numbers of rate 1 with the shapes of input, differentiable by them: each moves so
    that the probability below it stays. Reads input with `RNG=torch`."""
    need_float("_standard_gamma", input._dtype)
    drawn = draws(generator).gamma(input.detach()).plain_node()

    def gradient(g: Node, value: Node, shape: Node) -> tuple[Node]:
        return (ops.mul(g, gamma_slope(ops.detach(shape), ops.detach(value))),)

    return apply("_standard_gamma", lambda shape: ops.surrogate(drawn, shape, arg=gradient), input)


@creator("_sample_dirichlet")
def sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Dirichlet distributed rows with the concentrations of input (..., n): positive numbers below 1 whose
    sum is 1. Differentiable by input, which is read with `RNG=torch`."""
    need_float("_sample_dirichlet", input._dtype)
    drawn = standard_gamma(input.double(), generator)  # so that small shapes do not all vanish
    found = (drawn / drawn.sum(-1, True)).to(input._dtype)
    limits = finfo(input._dtype)
    return found + (found.detach().clamp(limits.tiny, 1 - limits.eps / 2) - found.detach())
