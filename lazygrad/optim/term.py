"""Arithmetic on the nodes of one float type, for formulas that run for every parameter at every step: no
gradient is recorded, nothing is promoted, and a term costs a third of a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad import ops
from lazygrad.dtypes import DType
from lazygrad.graph import Node
from lazygrad.tensors import Tensor
from lazygrad.tensors.core import from_node
from lazygrad.tensors.promotion import broadcast, converted, stretch

Row = Callable[..., Node]


class Term:
    """A node that is computed with as with a tensor. Terms of one formula have one type and one device, and
    shapes that broadcast; a number takes the type of the term beside it."""

    __slots__ = ("device", "node")

    def __init__(self, node: Node, device: str) -> None:
        self.node, self.device = node, device

    @classmethod
    def of(cls, tensor: Tensor, dtype: DType) -> Term:
        """What a tensor is worth now."""
        return cls(converted(tensor.plain_node(), dtype), tensor.cell.device)

    def tensor(self, dtype: DType) -> Tensor:
        """A tensor of a type, with memory of its own."""
        return from_node(converted(self.node, dtype), self.device)

    def detach(self) -> Term:
        """Itself: no gradient is recorded of terms."""
        return self

    @property
    def dtype(self) -> DType:
        return self.node.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.shape

    def _with(self, row: Row, other: Term | float) -> Term:
        x = self.node
        y = other.node if isinstance(other, Term) else ops.like(other, x)
        if x.shape != y.shape:
            shape = broadcast("optim", x.shape, y.shape)
            x, y = stretch(x, shape), stretch(y, shape)
        return Term(row(x, y), self.device)

    def __add__(self, other: Term) -> Term:
        return self._with(ops.add, other)

    def __sub__(self, other: Term) -> Term:
        return self._with(ops.sub, other)

    def __mul__(self, other: Term) -> Term:
        return self._with(ops.mul, other)

    def __truediv__(self, other: Term) -> Term:
        return self._with(ops.div, other)

    def __neg__(self) -> Term:
        return Term(ops.neg(self.node), self.device)

    def __gt__(self, other: Term | float) -> Term:
        return self._with(lambda x, y: ops.lt(y, x), other)

    def __lt__(self, other: Term | float) -> Term:
        return self._with(ops.lt, other)

    def __eq__(self, other: Any) -> Any:
        """Where the elements are equal."""
        return self._with(ops.eq, other)

    __hash__ = None  # type: ignore[assignment]

    def maximum(self, other: Term) -> Term:
        """The larger of each two."""
        return self._with(ops.maximum, other)

    def minimum(self, other: Term) -> Term:
        """The smaller of each two."""
        return self._with(ops.minimum, other)

    def where(self, condition: Term, other: Term | float) -> Term:
        """Itself where the condition holds, the other elsewhere."""
        y = other.node if isinstance(other, Term) else ops.like(other, self.node)
        shape = broadcast("optim", condition.shape, self.shape, y.shape)
        return Term(ops.where(*[stretch(n, shape) for n in (condition.node, self.node, y)]), self.device)

    def sqrt(self) -> Term:
        """The square root."""
        return Term(ops.sqrt(self.node), self.device)

    def abs(self) -> Term:
        """The size."""
        return Term(ops.abs_(self.node), self.device)

    def sign(self) -> Term:
        """-1, 0 or 1."""
        return Term(ops.sign(self.node), self.device)
