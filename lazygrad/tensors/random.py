"""Random numbers: the creators and in-place fillers that draw from a generator. Each takes its next range of
counters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import randomness as draw
from lazygrad.compositions.ordering import search
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, RuntimeArgumentError, ShapeError
from lazygrad.graph import Node, Shape
from lazygrad.helpers import product
from lazygrad.tensors.axes import sizes_of
from lazygrad.tensors.core import Tensor, apply, creator, from_node, method
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.generator import Generator, chosen
from lazygrad.tensors.promotion import get_default_dtype
from lazygrad.tensors.recording import now
from lazygrad.tensors.values import read

# Drawing nodes


def _bits(generator: Generator | None, shape: Shape) -> Node:
    return draw.bits(*chosen(generator).take(product(shape)), shape)


def _uniform(generator: Generator | None, shape: Shape, dtype: DType) -> Node:
    return draw.uniform(_bits(generator, shape), dtype)


def _normal(generator: Generator | None, shape: Shape, dtype: DType) -> Node:
    return draw.normal(*chosen(generator).take(2 * product(shape)), shape, dtype)


def _scaled(x: Node, scale: float, shift: float) -> Node:
    x = x if scale == 1 else ops.mul(x, axes.full(scale, x))
    return x if shift == 0 else ops.add(x, axes.full(shift, x))


def _need_float(op: str, dtype: DType) -> None:
    if dtype.kind != "float":
        raise DTypeError(f'[{op}] "{op}" is not implemented for {dtype!r}: take a floating point dtype')


# Creators


def _float_creator(name: str, make: Callable[[Generator | None, Shape, DType], Node], doc: str) -> None:
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
        _need_float(name, dtype)
        made = from_node(make(generator, shape, dtype), usable_device(device))
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
        return create(tuple(input._shape), dtype=dtype or input._dtype, device=device or input.device,
                      generator=generator, requires_grad=requires_grad)

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


_float_creator("rand", _uniform, "Uniform numbers of [0, 1) of a shape.")
_float_creator("randn", _normal, "Normal numbers with mean 0 and deviation 1 of a shape.")


def _check_range(op: str, low: int, high: int) -> None:
    if low >= high:
        raise RuntimeArgumentError(f"[{op}] random_ expects 'from' to be less than 'to', but got from={low} "
                                   f">= to={high}")


def _integers(op: str, generator: Generator | None, shape: Shape, low: int, high: int, dtype: DType) -> Node:
    _check_range(op, low, high)
    if dtype.kind != "float" and not (dtype.min <= low and high - 1 <= dtype.max):
        raise ArgumentError(f"[{op}] from - to [{low}, {high}) is out of bounds for {dtype!r}")
    return draw.integers(_bits(generator, shape), low, high, dtype)


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
    dtype = dtype or dtypes.int64
    node = _integers("randint", generator, _shape("randint", (size,)), int(low), int(high), dtype)
    made = from_node(node, usable_device(device))
    made = made if out is None else out.copy_(made)
    return made.requires_grad_() if requires_grad else made


@creator("randint_like")
def randint_like(input: Tensor, *bounds: int, dtype: DType | None = None, layout: Any = None,
                 device: Any = None, requires_grad: bool = False, low: int = 0, high: int | None = None,
                 generator: Generator | None = None) -> Tensor:
    """`randint` with the shape, dtype and device of input."""
    low, high = bounds if len(bounds) == 2 else (low, bounds[0] if bounds else high)
    return randint(low, high, tuple(input._shape), dtype=dtype or input._dtype, device=device or input.device,
                   requires_grad=requires_grad, generator=generator)


@creator("randperm")
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: DType = dtypes.int64,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The integers 0 .. n-1 in random order."""
    if n < 0:
        raise ShapeError(f"[randperm] n must be non-negative, got {n}")
    order = ops.argsort(_bits(generator, (n,)), arg=(0, False))
    made = from_node(axes.cast(order, dtype), usable_device(device))
    return made if out is None else out.copy_(made)


@creator("normal")
def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
           out: Tensor | None = None, dtype: DType | None = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """Normal numbers of a mean and deviation: numbers with a size, or tensors that broadcast."""
    tensors = [v for v in (mean, std) if isinstance(v, Tensor)]
    if not isinstance(std, Tensor) and std < 0:
        raise ArgumentError(f"[normal] normal expects std >= 0.0, but found std {std}")
    if not tensors:
        if size is None:
            raise ArgumentTypeError("[normal] a mean and a std that are numbers need a size")
        dtype = dtype or get_default_dtype()
        _need_float("normal", dtype)
        noise = _normal(generator, _shape("normal", (size,)), dtype)
        made = from_node(_scaled(noise, std, mean), usable_device(device))
    else:
        shape = axes.broadcast_shape("normal", *(tuple(t._shape) for t in tensors))
        base = from_node(_normal(generator, shape, tensors[0]._dtype), tensors[0].cell.device)
        made = base * std + mean
    made = made if out is None else out.copy_(made)
    return made.requires_grad_() if requires_grad else made


def _check_probability(op: str, p: Tensor) -> None:
    if now.recorder is not None:
        return  # a replay reads nothing
    values = read(p)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ArgumentError(f"[{op}] expects all probabilities p to satisfy 0 <= p <= 1, got "
                            f"{float(values.min())} to {float(values.max())}")


def _check_number_probability(op: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ArgumentError(f"[{op}] expects p to be in [0, 1], but got p={p}")


@creator("bernoulli")
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None,
              out: Tensor | None = None) -> Tensor:
    """1 with the probability that input (or p) says, else 0, in input's dtype. Realizes input, to check it,
    except in a call that `jit` records."""
    if p is not None:
        _check_number_probability("bernoulli", p)
    else:
        _need_float("bernoulli", input._dtype)
        _check_probability("bernoulli", input)
    shape = tuple(input._shape)
    number = _uniform(generator, shape, dtypes.float64 if input._dtype is dtypes.float64 else dtypes.float32)

    def build(x: Node) -> Node:
        limit = axes.cast(x, number.dtype) if p is None else axes.full(p, number)
        return axes.cast(ops.lt(number, limit), x.dtype)

    made = apply("bernoulli", build, input.detach())
    return made if out is None else out.copy_(made)


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
                generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """int64 (..., num_samples): columns drawn with the weights of each row of input (n) or (m, n). Realizes
    input, to check it, except in a call that `jit` records. Raises ArgumentError for weights that are
    negative, not finite or all 0."""
    op = "multinomial"
    if input.ndim not in (1, 2) or num_samples < 1:
        raise ShapeError(f"[{op}] needs 1 or 2 dimensions and at least one sample, got {tuple(input._shape)} "
                         f"and {num_samples}")
    _need_float(op, input._dtype)
    if not replacement and num_samples > input._shape[-1]:
        raise ShapeError(f"[{op}] cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
                         f"{num_samples} of {input._shape[-1]}")
    if now.recorder is None:
        _check_weights(op, read(input), 1 if replacement else num_samples)
    work = dtypes.float64 if input._dtype is dtypes.float64 else dtypes.float32
    shape = (*input._shape[:-1], num_samples)
    if replacement:
        number = _uniform(generator, tuple(shape), work)

        def build(x: Node) -> Node:
            summed = ops.cumsum(axes.cast(x, work), arg=x.ndim - 1)
            whole = axes.shrink_axis(summed, x.ndim - 1, x.shape[-1] - 1, x.shape[-1])
            found = search(summed, ops.mul(number, axes.expand(whole, number.shape)), True)
            # rounding may reach the total: the last column with a weight is the greatest that counts
            last = ops.max_(ops.where(ops.lt(axes.full(0, x), x), axes.places(x.shape, x.ndim - 1),
                                      axes.full(0, x, dtypes.int64)), arg=(x.ndim - 1,))
            return ops.minimum(found, axes.expand(last, found.shape))
    else:
        noise = draw.exponential(_bits(generator, tuple(input._shape)), work)

        def build(x: Node) -> Node:
            # the order of weights over exponential numbers is that of drawing one after the other
            race = ops.div(axes.cast(x, work), noise)
            return axes.shrink_axis(ops.argsort(race, arg=(x.ndim - 1, True)), x.ndim - 1, 0, num_samples)

    made = apply(op, build, input.detach())
    return made if out is None else out.copy_(made)


@method("multinomial")
def _multinomial_method(x: Tensor, num_samples: int, replacement: bool = False, *,
                        generator: Generator | None = None) -> Tensor:
    """Columns drawn with the weights of each row."""
    return multinomial(x, num_samples, replacement, generator=generator)


# In place


def _filler(
    name: str, defaults: tuple[Any, ...], names: tuple[str, ...], build: Callable[..., Node], doc: str
) -> None:
    def fill(x: Tensor, *args: Any, generator: Generator | None = None, **options: Any) -> Tensor:
        settings = dict(zip(names, defaults, strict=True))
        settings.update(zip(names, args, strict=False))
        settings.update({k.rstrip("_"): v for k, v in options.items()})
        if len(args) > len(names) or set(settings) != set(names):
            raise ArgumentTypeError(f"[{name}] takes {', '.join(names)} and generator, got {args} and "
                                    f"{options}")
        _need_float(name, x._dtype)
        node = build(name, generator, tuple(x._shape), x._dtype, *settings.values())
        return x.write(node, name, replaces=True)

    fill.__name__, fill.__doc__ = name, doc
    method(name)(fill)


def _uniform_between(
    op: str, generator: Generator | None, shape: Shape, dtype: DType, low: float, high: float
) -> Node:
    if low > high:
        raise ArgumentError(f"[{op}] uniform_ expects to return a [from, to) range, but found from={low} > "
                            f"to={high}")
    return _scaled(_uniform(generator, shape, dtype), high - low, low)


def _normal_around(
    op: str, generator: Generator | None, shape: Shape, dtype: DType, mean: float, std: float
) -> Node:
    if std < 0:
        raise ArgumentError(f"[{op}] normal_ expects std >= 0.0, but found std={std}")
    return _scaled(_normal(generator, shape, dtype), std, mean)


def _exponential(op: str, generator: Generator | None, shape: Shape, dtype: DType, rate: float) -> Node:
    if rate <= 0:
        raise ArgumentError(f"[{op}] exponential_ expects lambda > 0.0, but found lambda={rate}")
    return _scaled(draw.exponential(_bits(generator, shape), dtype), 1 / rate, 0)


def _work(dtype: DType) -> DType:
    return dtypes.float64 if dtype is dtypes.float64 else dtypes.float32


def _inside(generator: Generator | None, shape: Shape, dtype: DType) -> Node:
    """Uniform numbers of the open (0, 1) in the type to compute in."""
    number = _uniform(generator, shape, _work(dtype))
    return ops.add(number, axes.full(2.0**-54 if number.dtype is dtypes.float64 else 2.0**-25, number))


def _cauchy(
    op: str, generator: Generator | None, shape: Shape, dtype: DType, median: float, sigma: float
) -> Node:
    turn = _inside(generator, shape, dtype)
    angle = ops.mul(ops.sub(turn, axes.full(0.5, turn)), axes.full(math.pi, turn))
    return axes.cast(_scaled(ops.tan(angle), sigma, median), dtype)


def _log_normal(
    op: str, generator: Generator | None, shape: Shape, dtype: DType, mean: float, std: float
) -> Node:
    if std <= 0:
        raise ArgumentError(f"[{op}] log_normal_ expects std > 0.0, but found std={std}")
    return ops.exp(_scaled(_normal(generator, shape, dtype), std, mean))


def _geometric(op: str, generator: Generator | None, shape: Shape, dtype: DType, p: float) -> Node:
    if not 0 < p < 1:
        raise ArgumentError(f"[{op}] geometric_ expects p to be in (0, 1), but got p={p}")
    wait = draw.exponential(_bits(generator, shape), _work(dtype))
    tries = ops.ceil(ops.mul(wait, axes.full(-1 / math.log1p(-p), wait)))
    return axes.cast(ops.maximum(tries, axes.full(1, tries)), dtype)


_filler("uniform_", (0.0, 1.0), ("from", "to"), _uniform_between, "Fill with uniform numbers of [from, to).")
_filler("normal_", (0.0, 1.0), ("mean", "std"), _normal_around, "Fill with normal numbers.")
_filler("exponential_", (1.0,), ("lambd",), _exponential, "Fill with exponentially distributed numbers of a "
                                                          "rate.")
_filler("cauchy_", (0.0, 1.0), ("median", "sigma"), _cauchy, "Fill with numbers of Cauchy's distribution.")
_filler("log_normal_", (1.0, 2.0), ("mean", "std"), _log_normal, "Fill with the exponentials of normal "
                                                                 "numbers.")
_filler("geometric_", (0.5,), ("p",), _geometric, "Fill with how many tries of chance p it takes until one "
                                                  "succeeds.")


@method("random_")
def random_(
    x: Tensor, *bounds: int, to: int | None = None, generator: Generator | None = None, **options: int
) -> Tensor:
    """Fill with integers: random_(from, to) of [from, to), random_(to) of [0, to), random_() of all that the
    dtype holds exactly."""
    dtype = x._dtype
    low, high = bounds if len(bounds) == 2 else (options.get("from", 0), bounds[0] if bounds else to)
    if high is None:
        exact = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}
        high = 2 ** exact[dtype] + 1 if dtype in exact else int(dtype.max) + 1
    if dtype.kind == "bool":
        return x.write(
            axes.cast(_integers("random_", generator, tuple(x._shape), low, high, dtypes.int64), dtype),
            "random_",
            replaces=True,
        )
    node = _integers("random_", generator, tuple(x._shape), low, high, dtype)
    return x.write(node, "random_", replaces=True)


@method("bernoulli_")
def bernoulli_(x: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability p (a number, or a tensor that broadcasts), else 0."""
    if isinstance(p, Tensor):
        _check_probability("bernoulli_", p)
    else:
        _check_number_probability("bernoulli_", p)
    number = _uniform(generator, tuple(x._shape), dtypes.float32)

    def build(*given: Node) -> Node:
        limit = (
            axes.broadcast(axes.cast(given[0], number.dtype), number.shape) if given else axes.full(p, number)
        )
        return axes.cast(ops.lt(number, limit), x._dtype)

    return x.write(
        apply("bernoulli_", build, p.detach()).plain_node() if isinstance(p, Tensor) else build(),
        "bernoulli_",
        replaces=True,
    )


@method("trunc_normal_")
def trunc_normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of [a, b]: none is thrown away, the distribution is inverted."""
    _need_float("trunc_normal_", x._dtype)
    low, high = (math.erf((v - mean) / (std * math.sqrt(2))) for v in (a, b))
    number = _inside(generator, tuple(x._shape), x._dtype)
    value = draw.erfinv(_scaled(number, high - low, low))
    value = _scaled(value, std * math.sqrt(2), mean)
    value = ops.minimum(ops.maximum(value, axes.full(a, value)), axes.full(b, value))
    return x.write(axes.cast(value, x._dtype), "trunc_normal_", replaces=True)


@creator("poisson")
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts of Poisson's distribution with the rates of input, in its dtype. Realizes input, to know how far
    to count.
    """
    op = "poisson"
    _need_float(op, input._dtype)
    rates = read(input)
    if rates.size and not (rates >= 0).all():
        raise ArgumentError(f"[{op}] expects all elements of input to be non-negative")
    most = float(rates.max()) if rates.size else 0.0
    shape = tuple(input._shape)
    terms = int(most + 12 * math.sqrt(most) + 24)
    number = _uniform(generator, shape, dtypes.float64)

    def build(x: Node) -> Node:
        # counts how many of the cumulative probabilities the uniform number has passed
        rate = axes.cast(x, dtypes.float64)
        wide = (*shape, terms)
        count = axes.places(wide, len(shape), dtypes.float64)
        rate = axes.expand(axes.insert_axis(rate, len(shape)), wide)
        step = ops.where(ops.eq(count, axes.full(0, count)), ops.neg(rate),
                         ops.sub(ops.log(ops.maximum(rate, axes.full(1e-300, rate))),
                                 ops.log(ops.maximum(count, axes.full(1, count)))))
        passed = ops.cumsum(ops.exp(ops.cumsum(step, arg=len(shape))), arg=len(shape))
        beyond = ops.le(passed, axes.expand(axes.insert_axis(number, len(shape)), wide))
        return axes.cast(axes.total(axes.cast(beyond, dtypes.float64), (len(shape),)), x.dtype)

    return apply(op, build, input.detach())

