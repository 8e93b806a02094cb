"""What a row of the op table holds, and how calling a row makes a checked, interned Node."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazygrad.dtypes import DType
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Node, Scalar, Shape, intern

OPS: dict[str, Op] = {}

IndexRule = Callable[[Node, tuple[Expr, ...]], list[tuple[tuple[Expr, ...], tuple[Guard, ...]]]]


@dataclass(frozen=True, eq=False)
class Op:
    """One primitive. Every floor reads its own columns; adding a row adds the op everywhere.

    name      as printed, and the key in OPS
    kind      "elementwise", "reduce", "scan", "movement", "index", "sort", "matrix", "source" or "annotation"
    shape     (inputs, arg) -> shape of the result; asserts that the inputs fit
    dtype     (inputs, arg) -> dtype of the result
    numpy     (node, *arrays) -> array: the reference that defines what is right
    gradient  (g, node, *inputs) -> one Node or None per input; None as a column: no gradient flows
    index     movement ops: (node, output index) -> per input, the index to read and its guards
    opencl    elementwise ops: an OpenCL C expression of {0}, {1}, ... and {t}, the type
    llvm      elementwise ops: the name of an instruction or expansion in codegen
    identity  reduces and scans: dtype -> the value that changes nothing
    combine   reduces and scans: the elementwise op that folds two values
    domain    elementwise ops: (low, high) of float samples on which gradients are checked
    dtypes    kinds of dtype that the op takes, e.g. ("float",)
    """

    name: str
    kind: str
    arity: int | None
    shape: Callable[[tuple[Node, ...], Any], Shape]
    dtype: Callable[[tuple[Node, ...], Any], DType]
    numpy: Callable[..., np.ndarray] | None
    gradient: Callable[..., tuple[Node | None, ...]] | None = None
    index: IndexRule | None = None
    opencl: str | None = None
    llvm: str | None = None
    identity: Callable[[DType], Scalar] | None = None
    combine: str | None = None
    domain: tuple[float, float] = (-3.0, 3.0)
    dtypes: tuple[str, ...] = ("bool", "uint", "int", "float")

    def __post_init__(self) -> None:
        assert self.name not in OPS, f"two rows named {self.name}"
        OPS[self.name] = self

    def __call__(self, *inputs: Node, arg: Hashable = None) -> Node:
        """The node of this op; inputs must already have the shapes and dtypes that the row asks for."""
        assert self.arity is None or len(inputs) == self.arity, (self.name, len(inputs))
        for i in inputs:
            assert i.dtype.kind in self.dtypes, (self.name, inputs)
        return intern(self, self.dtype(inputs, arg), self.shape(inputs, arg), inputs, arg)

    def __repr__(self) -> str:
        return self.name


def same_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    """The shape rule of elementwise ops: all inputs have one shape (broadcasting is an explicit expand)."""
    shape = inputs[0].shape
    for other in inputs[1:]:
        assert other.shape == shape, [i.shape for i in inputs]
    return shape


def same_dtype(inputs: tuple[Node, ...], arg: Any) -> DType:
    """The dtype rule of most ops: all inputs have one dtype, the result has it too."""
    dtype = inputs[0].dtype
    for other in inputs[1:]:
        assert other.dtype == dtype, [i.dtype for i in inputs]
    return dtype
