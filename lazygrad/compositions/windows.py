"""Sliding windows: convolution, its transpose, and pooling.

A convolution is pad, `window`, multiply and sum; batch, group and channel axes stay axes of their own. All
shapes here have a batch axis and a channel axis in front of the spatial axes; one tuple entry per spatial
axis.
"""

from __future__ import annotations

from collections.abc import Callable

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions.contraction import product_sum
from lazygrad.errors import ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div, product

Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def pad_spatial(x: Node, pads: Pads, fill: bool | int | float = 0) -> Node:
    """x with `fill` around its last axes; negative amounts crop."""
    lead = x.ndim - len(pads)
    if any(a < 0 or b < 0 for a, b in pads):
        cropped = [(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape[lead:], pads, strict=True)]
        x = ops.shrink(x, arg=tuple((0, n) for n in x.shape[:lead]) + tuple(cropped))
    grown = tuple((max(a, 0), max(b, 0)) for a, b in pads)
    if not any(a or b for a, b in grown):
        return x
    return ops.pad(x, arg=ops.pad_arg(((0, 0),) * lead + grown, fill))


def windows_of(x: Node, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Node:
    """(N, C, out..., kernel...) from (N, C, in...): every window of the last axes."""
    first = x.ndim - len(kernel)
    return ops.window(x, arg=tuple((first + i, k, s, d)
                                   for i, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True))))


@axes.precise
def convolution(op: str, x: Node, weight: Node, bias: Node | None, stride: Sizes, pads: Pads, dilation: Sizes,
                groups: int) -> Node:
    """x (N, Ci, in...), weight (Co, Ci/groups, kernel...), bias (Co): (N, Co, out...)."""
    axes.require_same_dtype(op, x, weight, bias)
    n, channels = x.shape[:2]
    out_channels, per_group, *kernel = weight.shape
    rank = len(kernel)
    if groups < 1 or channels != per_group * groups or out_channels % groups:
        raise ShapeError(f"[{op}] input {x.shape} has {channels} channels, weight {weight.shape} with "
                         f"groups={groups} takes "
                         f"{per_group * groups} and needs its {out_channels} outputs divisible by groups")
    if not out_channels:
        raise ShapeError(f"[{op}] expected weight to be at least 1 at dimension 0, got weight {weight.shape}")
    if bias is not None and bias.shape != (out_channels,):
        raise ShapeError(f"[{op}] bias {bias.shape} does not fit weight {weight.shape}: it needs shape "
                         f"({out_channels},)")
    x = pad_spatial(x, pads)
    check_kernel(op, x, tuple(kernel), dilation)
    seen = windows_of(x, tuple(kernel), stride, dilation)
    out = seen.shape[2:2 + rank]
    # one axis each for batch, group, output channel, place, input channel of the group, and place in the
    # kernel
    seen = axes.reshape(seen, (n, groups, per_group, *out, *kernel))
    order = (0, 1, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    seen = axes.insert_axis(axes.permute(seen, order), 2)
    filters = axes.reshape(weight, (1, groups, out_channels // groups, *(1,) * rank, per_group, *kernel))
    result = product_sum(seen, filters, range(3 + rank, 4 + 2 * rank))
    return _with_bias(axes.reshape(result, (n, out_channels, *out)), bias)


def check_kernel(op: str, padded: Node, kernel: Sizes, dilation: Sizes) -> None:
    """Raises ShapeError unless a window fits into the last axes."""
    sizes = padded.shape[padded.ndim - len(kernel):]
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    if any(k < 1 for k in kernel) or any(span > size for span, size in zip(spans, sizes, strict=True)):
        raise ShapeError(f"[{op}] Kernel size can't be greater than actual input size: kernel {kernel} spans "
                         f"{spans}, the padded input is {tuple(sizes)}")


def _with_bias(x: Node, bias: Node | None) -> Node:
    if bias is None:
        return x
    return ops.add(x, axes.expand(axes.reshape(bias, (1, bias.size, *(1,) * (x.ndim - 2))), x.shape))


@axes.precise
def transposed_convolution(op: str, x: Node, weight: Node, bias: Node | None, stride: Sizes, padding: Sizes,
                           output_padding: Sizes, groups: int, dilation: Sizes) -> Node:
    """x (N, Ci, in...), weight (Ci, Co/groups, kernel...), bias (Co): (N, Co, out...), the transpose of
    convolution."""
    axes.require_same_dtype(op, x, weight, bias)
    n, channels, *size = x.shape
    in_channels, per_group, *kernel = weight.shape
    rank, out_channels = len(kernel), per_group * groups
    if groups < 1 or channels != in_channels or channels % groups:
        raise ShapeError(f"[{op}] input {x.shape} has {channels} channels, weight {weight.shape} takes "
                         f"{in_channels} (which groups={groups} must divide)")
    if bias is not None and bias.shape != (out_channels,):
        raise ShapeError(f"[{op}] bias {bias.shape} does not fit weight {weight.shape} with groups={groups}: "
                         f"it needs shape ({out_channels},)")
    left = axes.reshape(x, (n, groups, channels // groups, 1, *size, *(1,) * rank))
    right = axes.reshape(weight, (1, groups, channels // groups, per_group, *(1,) * rank, *kernel))
    parts = axes.reshape(product_sum(left, right, (2,)), (n, out_channels, *size, *kernel))
    spans = [(i - 1) * s + d * (k - 1) + 1 for i, s, d, k in zip(size, stride, dilation, kernel, strict=True)]
    final = tuple(span - 2 * p + o for span, p, o in zip(spans, padding, output_padding, strict=True))
    if any(f < 1 for f in final):
        raise ShapeError(f"[{op}] input {x.shape} gives an output of size {final}: too small")
    lengths = [max(span, span + o - p) for span, o, p in zip(spans, output_padding, padding, strict=True)]
    summed = add_windows(parts, tuple(lengths), stride, dilation)
    return _with_bias(pad_spatial(summed, tuple((-p, f + p - length) for p, f, length in
                                                zip(padding, final, lengths, strict=True))), bias)


def add_windows(parts: Node, length: Sizes, stride: Sizes, dilation: Sizes) -> Node:
    """The transpose of `windows_of`: (N, C, out..., kernel...) to (N, C, length...), overlapping parts
    added."""
    rank = len(length)
    first = parts.ndim - 2 * rank
    placed = ops.spread(parts, arg=tuple((first + i, *row)
                                         for i, row in enumerate(zip(length, stride, dilation, strict=True))))
    return axes.total(placed, range(first + rank, first + 2 * rank))


# Pooling


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows a pooling takes along one axis."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (ceil_div(room, stride) if ceil_mode else room // stride) + 1
    # no window may begin in the padding behind
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding else count


def pool_pads(op: str, x: Node, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes,
              ceil_mode: bool) -> tuple[Sizes, Pads]:
    """The number of windows along each axis, and the padding in front of and behind each that makes them
    fit."""
    size = x.shape[x.ndim - len(kernel):]
    for k, p in zip(kernel, padding, strict=True):
        if p < 0 or p > k // 2:
            raise ShapeError(f"[{op}] pad should be at most half of kernel size, but got padding {padding} "
                             f"for kernel {kernel}")
    counts = tuple(
        pooled_size(*row, ceil_mode) for row in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    if any(c < 1 for c in counts):
        raise ShapeError(f"[{op}] kernel {kernel} with padding {padding} does not fit input {x.shape}: the "
                         f"output would have size {counts}")
    behind = tuple((c - 1) * s + d * (k - 1) + 1 - n - p
                   for c, s, d, k, n, p in zip(counts, stride, dilation, kernel, size, padding, strict=True))
    return counts, tuple(zip(padding, behind, strict=True))


def max_pool(op: str, x: Node, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes,
             ceil_mode: bool) -> Maxima:
    """The maxima of windows of x (N, C, in...)."""
    _, pads = pool_pads(op, x, kernel, stride, padding, dilation, ceil_mode)
    seen = windows_of(pad_spatial(x, pads, x.dtype.min), kernel, stride, dilation)
    plane = x.shape[x.ndim - len(kernel):]

    def numbers() -> Node:
        # as narrow as the plane allows: they are compared once for every element of every window
        number = ops.iota(product(plane), dtypes.int32 if product(plane) < 2**30 else dtypes.int64)
        return windows_of(pad_spatial(axes.reshape(number, plane), pads, -1), kernel, stride, dilation)

    return Maxima(seen, numbers, len(kernel))


class Maxima:
    """The maxima of windows (N, C, out..., kernel...); NaN wins.

    `numbers` makes the number of each element, growing along a window; an element with a number below 0
    never wins.
    """

    def __init__(self, seen: Node, numbers: Callable[[], Node], rank: int):
        self.seen, self.numbers = seen, numbers
        self.folded = tuple(range(seen.ndim - rank, seen.ndim))

    def values(self) -> Node:
        """The maxima (N, C, out...), for who needs no gradient."""
        return axes.drop_axes(ops.max_(self.seen, arg=self.folded), self.folded)

    def differentiable(self) -> Node:
        """The maxima; the gradient goes to the first of each window, as in PyTorch."""
        seen = self.seen
        if seen.dtype.kind != "float":
            return self.values()
        numbers, first = self._first()
        chosen = ops.eq(numbers, axes.expand(first, numbers.shape))
        return ops.surrogate(
            self.values(), axes.total(ops.where(chosen, seen, axes.full(0, seen)), self.folded)
        )

    def places(self) -> Node:
        """The numbers of the first maximum of each window (N, C, out...), int64."""
        return axes.cast(axes.drop_axes(self._first()[1], self.folded), dtypes.int64)

    def _first(self) -> tuple[Node, Node]:
        seen = self.seen
        wins = ops.eq(seen, axes.expand(ops.max_(seen, arg=self.folded), seen.shape))
        if seen.dtype.kind == "float":
            wins = ops.bitor(wins, ops.ne(seen, seen))
        numbers = axes.broadcast(self.numbers(), seen.shape)
        wins = ops.bitand(wins, ops.le(axes.full(0, numbers), numbers))
        beyond = axes.full(numbers.dtype.max, numbers)
        return numbers, ops.min_(ops.where(wins, numbers, beyond), arg=self.folded)


def average_pool(op: str, x: Node, kernel: Sizes, stride: Sizes, padding: Sizes, ceil_mode: bool,
                 count_include_pad: bool, divisor: int | None) -> Node:
    """The mean of each window (N, C, out...); `divisor` replaces the number of elements that are counted."""
    ones = (1,) * len(kernel)
    counts, pads = pool_pads(op, x, kernel, stride, padding, ones, ceil_mode)
    lead = x.ndim - len(kernel)
    wide = axes.cast(x, x.dtype.accumulator)
    seen = windows_of(pad_spatial(wide, pads), kernel, stride, ones)
    summed = axes.total(seen, range(x.ndim, x.ndim + len(kernel)))
    if divisor is not None:
        return axes.cast(ops.div(summed, axes.full(divisor, summed)), x.dtype)
    constant = 1
    for i, (k, s, p) in enumerate(zip(kernel, stride, padding, strict=True)):
        size, behind = x.shape[lead + i], pads[i][1]
        if (p <= 0 and behind <= 0) or (count_include_pad and behind <= p):
            constant *= k
            continue
        number = axes.cast(_counted(counts[i], k, s, p, size, p if count_include_pad else 0), summed.dtype)
        number = axes.reshape(number, tuple(counts[i] if j == lead + i else 1 for j in range(summed.ndim)))
        summed = ops.div(summed, axes.expand(number, summed.shape))
    return axes.cast(ops.div(summed, axes.full(constant, summed)), x.dtype)


def _counted(count: int, kernel: int, stride: int, padding: int, size: int, outer: int) -> Node:
    """How many places of each window lie in [-outer, size + outer)."""
    begin = ops.sub(ops.mul(ops.iota(count), ops.const(stride, dtypes.int64, (count,))),
                    ops.const(padding, dtypes.int64, (count,)))
    end = ops.minimum(ops.add(begin, axes.full(kernel, begin)), axes.full(size + outer, begin))
    return ops.sub(end, ops.maximum(begin, axes.full(-outer, begin)))


def adaptive_windows(x: Node, out: Sizes) -> tuple[Node, Node, Node, Node]:
    """PyTorch's adaptive windows of the last axes of x, which may differ in size by one.

    Returns the windows (N, C, out..., kernel...), which of their places count, the number of each place in
    the flattened plane (both out..., kernel...), and the number of places that count in each (out...).
    """
    rank = len(out)
    lead = x.ndim - rank
    plane = x.shape[lead:]
    kernel = tuple(max((ceil_div((i + 1) * n, o) - i * n // o for i in range(o)), default=0)
                   for n, o in zip(plane, out, strict=True))
    shape = (*out, *kernel)
    places, inside = [], ops.const(True, dtypes.bool_, shape)
    counted = ops.const(1, dtypes.int64, out)
    number = ops.const(0, dtypes.int64, shape)
    for axis, (n, o) in enumerate(zip(plane, out, strict=True)):
        i = axes.places(shape, axis)
        size, parts = axes.full(n, i), axes.full(o, i)
        begin = ops.floordiv(ops.mul(i, size), parts)
        end = ops.floordiv(ops.add(ops.mul(ops.add(i, axes.full(1, i)), size), axes.full(o - 1, i)), parts)
        place = ops.add(begin, axes.places(shape, rank + axis))
        inside = ops.bitand(inside, ops.lt(place, end))
        place = ops.minimum(place, axes.full(max(n - 1, 0), place))
        number = ops.add(ops.mul(number, size), place)
        places.append(place)
        extent = ops.sub(end, begin)
        extent = axes.drop_axes(
            ops.shrink(
                extent, arg=tuple((0, m) if j < rank else (0, min(m, 1)) for j, m in enumerate(shape))
            ),
            range(rank, 2 * rank),
        )
        counted = ops.mul(counted, extent)
    seen = ops.gather(x, *places, arg=tuple(range(lead, x.ndim)))
    seen = axes.permute(seen, (*range(2 * rank, 2 * rank + lead), *range(2 * rank)))
    return seen, inside, number, counted


def adaptive_average_pool(x: Node, out: Sizes) -> Node:
    """The mean of each adaptive window (N, C, out...)."""
    rank = len(out)
    plane = x.shape[x.ndim - rank:]
    if all(o and n % o == 0 and n for n, o in zip(plane, out, strict=True)):
        kernel = tuple(n // o for n, o in zip(plane, out, strict=True))
        return average_pool("adaptive_avg_pool", x, kernel, kernel, (0,) * rank, False, True, None)
    seen, inside, _, counted = adaptive_windows(axes.cast(x, x.dtype.accumulator), out)
    kept = ops.where(axes.broadcast(inside, seen.shape), seen, axes.full(0, seen))
    summed = axes.total(kept, range(x.ndim, seen.ndim))
    number = axes.broadcast(axes.cast(counted, summed.dtype), summed.shape)
    return axes.cast(ops.div(summed, number), x.dtype)


def adaptive_max_pool(x: Node, out: Sizes) -> Maxima:
    """The maxima of the adaptive windows."""
    rank = len(out)
    plane = x.shape[x.ndim - rank:]
    if all(o and n % o == 0 for n, o in zip(plane, out, strict=True)):
        kernel = tuple(n // o for n, o in zip(plane, out, strict=True))
        return max_pool("adaptive_max_pool", x, kernel, kernel, (0,) * rank, (1,) * rank, False)
    seen, inside, number, _ = adaptive_windows(x, out)
    seen = ops.where(axes.broadcast(inside, seen.shape), seen, axes.full(x.dtype.min, seen))
    return Maxima(seen, lambda: ops.where(inside, number, axes.full(-1, number)), rank)
