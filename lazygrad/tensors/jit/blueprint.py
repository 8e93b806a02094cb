"""`Blueprint`: how a replay makes a tensor that the recorded function made or returned."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazygrad.dtypes import DType
from lazygrad.graph import Node
from lazygrad.tensors.cell import Cell, History
from lazygrad.tensors.core import Size, Tensor, assemble
from lazygrad.tensors.views import Chain


@dataclass(frozen=True)
class Blueprint:
    """A tensor as a view of a storage.

    `source`: ("target", number of a computed value), ("storage", number), ("argument", number), ("place",
    number) or ("same", the tensor itself). `gradient`: "none", "leaf", "spent" (a backward pass went through
    it), or "graph": `graph` is its differentiable node, over promises.
    """

    source: tuple[str, Any]
    kind: type
    chain: Chain
    shape: Size
    dtype: DType
    strides: tuple[int, ...] | None
    offset: int
    gradient: str
    graph: Node | None
    grad: Blueprint | None

    def make(self, cell: Cell, graph: Callable[[Node], Node]) -> Tensor:
        """The tensor over a cell; `graph` gives the node that a differentiable node is today."""
        history, chain = History(cell), self.chain
        if self.graph is not None:
            history, chain = History(cell, graph(self.graph), chain), ()
        made = assemble(self.kind, history, chain, self.shape, self.dtype, self.strides, self.offset)
        if self.gradient == "leaf":
            made.requires_grad_()
        elif self.gradient == "spent":
            history.requires_grad = history.spent = True
        return made


def blueprint_of(x: Tensor, source: tuple[str, Any], grad: Blueprint | None) -> Blueprint:
    """What a replay needs to make a tensor like this one."""
    history = x._history
    gradient, graph = "none", None
    if x.requires_grad:
        gradient = "leaf" if history.token is not None else "spent"
        if gradient == "spent" and not history.spent and history.node is not None:
            gradient, graph = "graph", x.graph_node()
    return Blueprint(source, type(x), history.prefix + x._chain, x._shape, x._dtype, x._strides, x._offset,
                     gradient, graph, grad)


Maker = Callable[[Any], Any]


def structure_of(value: Any, plan: Callable[[Tensor], int]) -> Maker:
    """A function that makes a value like this one from the tensors that a replay made; `plan` numbers them.
    Values without tensors are given as they are."""
    if isinstance(value, Tensor):
        number = plan(value)
        return lambda made: made[number]
    if isinstance(value, tuple | list):
        parts = [structure_of(v, plan) for v in value]
        kind: Any = type(value)
        if hasattr(kind, "_fields"):
            return lambda made: kind(*(part(made) for part in parts))
        return lambda made: kind(part(made) for part in parts)
    if isinstance(value, dict):
        keyed = {key: structure_of(v, plan) for key, v in value.items()}

        def filled(made: Any) -> Any:
            result = copy.copy(value)
            result.update({key: part(made) for key, part in keyed.items()})
            return result

        return filled
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.init]
        fields = {name: structure_of(getattr(value, name), plan) for name in names}
        return lambda made: dataclasses.replace(value, **{name: part(made) for name, part in fields.items()})
    return lambda made: value
