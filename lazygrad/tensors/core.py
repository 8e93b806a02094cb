"""`Tensor`: a view (a chain of movements) of a cell, and the doors through which every other file makes
Tensors.

For those who write operations:

- `apply("name", build, *tensors)` calls `build(*nodes)` and wraps the node it returns. It moves 0-d operands
to the common device, refuses mixed devices, and lets gradients flow exactly where PyTorch's would.
- `from_node(node, device)` wraps a node that depends on no tensor.
- `view_of(tensor, ("permute", order), shape, strides, offset)` makes a view: it shares storage with `tensor`.
- `tensor.write(node_or_tensor)` gives a tensor (or the part of its base that a view shows) a new value in
place.
- `@function`, `@method`, `@creator` publish a definition as `lazygrad.f` and `Tensor.f`, only the one, only
the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType, bool_
from lazygrad.errors import ArgumentTypeError, DeviceError, GradientError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import product, row_strides
from lazygrad.hooks import HookTable
from lazygrad.tensors.autocasting import with_autocast
from lazygrad.tensors.cell import Cell, History, Token
from lazygrad.tensors.devices import device
from lazygrad.tensors.grad_fn import GradFn, Label, made_by
from lazygrad.tensors.modes import mode
from lazygrad.tensors.recording import now
from lazygrad.tensors.signatures import checked, has_sizes, register
from lazygrad.tensors.views import Chain, Movement, is_packed, read_through, whole_row, write_back

FUNCTIONS: dict[str, Callable[..., Any]] = {}


class Size(tuple):
    """A shape: a tuple that prints as PyTorch's and counts its elements."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        return product(self)

    def __repr__(self) -> str:
        return f"{dtypes.shown_package}.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        got = tuple.__getitem__(self, index)
        return Size(got) if isinstance(index, slice) else got

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, other)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times: Any) -> Size:
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __radd__(self, other: Any) -> Size:
        return Size(other + tuple(self)) if isinstance(other, tuple) else NotImplemented


class Tensor:
    """An array of one dtype on one device, computed lazily, with PyTorch's semantics.

    Made by `lazygrad.tensor(...)` and the other creators, or by operations. Attributes that begin with an
    underscore belong to this file.
    """

    __array_priority__ = 1000  # NumPy arrays and scalars on the left of an operator leave it to us
    _history: History
    _chain: Chain
    _shape: Size
    _dtype: DType
    _strides: tuple[int, ...] | None  # None: contiguous
    _offset: int
    # caches: the value's node as of the cell's node, and the differentiable node as of the root's
    _plain: Node | None = None
    _plain_base: Node | None = None
    _graph: Node | None = None
    _graph_root: Node | None = None
    _grad: Tensor | None = None
    _hooks: HookTable | None = None  # of a leaf: called with its gradient
    _after_grad: HookTable | None = None  # of a leaf: called after its gradient was added to
    _base: Tensor | None = None  # of a view: the tensor it was made from
    _made_by: GradFn | None = None  # of a differentiable result: the operation that made it
    _label: Label | None = None  # what the user calls it

    if TYPE_CHECKING:

        # what the other files publish; operators are looked up in the class, so each is named
        def __getattr__(self, name: str) -> Any: ...
        def _binary(self, other: Any) -> Tensor: ...
        def _unary(self) -> Tensor: ...
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _binary
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _binary
        __matmul__ = __rmatmul__ = _binary
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = _binary
        __rxor__ = __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _binary
        __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = _binary
        __ipow__ = __imatmul__ = _binary
        __iand__ = __ior__ = __ixor__ = __ilshift__ = __irshift__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = _binary
        __neg__ = __pos__ = __abs__ = __invert__ = _unary
        def __eq__(self, other: object) -> Any: ...
        def __ne__(self, other: object) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __iter__(self) -> Iterator[Any]: ...
        def __contains__(self, value: Any) -> bool: ...
        def __len__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __complex__(self) -> complex: ...
        def __index__(self) -> int: ...
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray: ...

        # properties that other files attach
        grad: Any
        grad_fn: Any
        retains_grad: Any
        output_nr: int
        label: Any
        itemsize: Any
        nbytes: Any
        is_cpu: Any
        is_cuda: Any
        T: Any
        mT: Any
        real: Any
        imag: Any
        layout: Any
        name: Any
        H: Any
        mH: Any

    # What it is

    @property
    def shape(self) -> Size:
        """The sizes of its dimensions."""
        return self._shape

    @property
    def dtype(self) -> DType:
        """The type of its elements."""
        return self._dtype

    @property
    def device(self) -> device:
        """Where its values live."""
        return device(self._history.cell.device)

    @property
    def ndim(self) -> int:
        """The number of its dimensions."""
        return len(self._shape)

    @property
    def _version(self) -> int:
        return self._history.cell.version

    def stride(self, dim: int | None = None) -> Any:
        """Elements between neighbours along each dimension, as PyTorch's storage would have them."""
        strides = row_strides_of(self._shape) if self._strides is None else self._strides
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """The position of the first element in the storage."""
        return self._offset

    def is_contiguous(self, *, memory_format: Any = None) -> bool:
        """True where the elements stand in row-major order without gaps."""
        return self._strides is None or is_packed(self._shape, self._strides)

    @property
    def cell(self) -> Cell:
        """The storage that this tensor and its aliases share."""
        return self._history.cell

    # Gradients

    @property
    def requires_grad(self) -> bool:
        """True where gradients flow to this tensor."""
        return self._history.requires_grad and self._dtype.kind == "float"

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value is not True and value is not False:
            raise GradientError(f"[requires_grad] requires_grad must be a bool, not {value!r}")
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Make this a leaf that collects its gradient in `.grad`, or stop doing so. Raises GradientError for
        integers and, when switching off, for results of differentiable operations."""
        history = self._history
        if not isinstance(requires_grad, bool | np.bool_):
            raise ArgumentTypeError("[requires_grad_] requires_grad_(): argument 'requires_grad' (position 1)"
                                    f" must be bool, not {type(requires_grad).__name__}")
        if requires_grad:
            if self._dtype.kind != "float":
                raise GradientError("[requires_grad_] only Tensors of floating point dtype can require "
                                    f"gradients, not {self._dtype!r}: convert it with .float() first")
            if not history.requires_grad:
                self._own_history(leaf=True)
        elif history.requires_grad:
            if not self.is_leaf:
                raise GradientError(
                    "[requires_grad_] you can only change requires_grad flags of leaf variables. If you want "
                    "to use a computed variable in a subgraph that doesn't require differentiation use "
                    "var_no_grad = var.detach()."
                )
            self._own_history(leaf=False)
        return self

    @property
    def is_leaf(self) -> bool:
        """True where no recorded operation made this tensor."""
        history = self._history
        return not self.requires_grad or (history.token is not None and history.token.tensor() is self)

    def _own_history(self, leaf: bool) -> None:
        """Leave the history shared with others: a leaf of its own, or nothing known."""
        history = self._history
        chain = history.prefix + self._chain
        if leaf:
            self._history = History(history.cell, prefix=chain, token=Token(self, history.cell))
            self._chain = ()
            if self._label is not None and self._history.token is not None:
                self._history.token.label = self._label.text
        else:
            self._history, self._chain = History(history.cell), chain
        self._graph_root = self._made_by = None

    # Nodes

    def plain_node(self) -> Node:
        """The node of its value now, with no gradient flowing into it."""
        history = self._history
        if now.recorder is not None:
            now.recorder.touch(history.cell)
        elif history.cell.shared is not None:
            self._plain, self._plain_base = history.cell.shared.node(history.cell, self), None
            return self._plain
        base = history.cell.node
        if self._plain_base is not base:
            self._plain = read_through(history.cell.plain(), history.prefix + self._chain)
            self._plain_base = base
        assert self._plain is not None
        return self._plain

    def graph_node(self) -> Node:
        """The differentiable node of its value now; for tensors that require a gradient."""
        node = root = self._history.root()
        if self._chain:
            if self._graph_root is not root or self._graph is None:
                self._graph, self._graph_root = read_through(root, self._chain), root
            node = self._graph
        made = self._made_by
        if made is not None and made._node is None:
            made._node = ref(node)
        return node

    def node(self, tracked: bool = True) -> Node:
        """`graph_node` where gradients are recorded and flow to this tensor, else `plain_node`."""
        return self.graph_node() if tracked and mode.enabled and self.requires_grad else self.plain_node()

    def forget_nodes(self) -> None:
        """Free what is remembered of its value: it is made again when somebody asks. What runs without
        asking, such as a replay, would leave memory behind that is long out of use."""
        self._plain = self._plain_base = self._graph = self._graph_root = None
        if self._history.token is not None:
            self._history.node = None

    # Writing

    def write(
        self, value: Node | Tensor, name: str = "write", replaces: bool = False, repeats: bool = False
    ) -> Tensor:
        """Take a new value of the same shape and dtype, in place: every alias sees it. Returns self.

        A Tensor brings its gradient history along. `replaces`: the new value is not computed from the old
        one, whose history then receives zeros. `repeats`: all elements become the same, so that elements of
        an expanded tensor agree. Raises GradientError for a leaf that requires a gradient (outside
        `no_grad`), ShapeError for an expanded tensor otherwise.
        """
        history = self._history
        other = value._history.requires_grad if isinstance(value, Tensor) else False
        tracked = mode.enabled and (self.requires_grad or other)
        if tracked and (history.token is not None or history.over_leaf):
            what = "a leaf Variable" if self.is_leaf else "a view of a leaf Variable"
            raise GradientError(f"[{name}] {what} that requires grad is being used in an in-place operation: "
                                "put it under lazygrad.no_grad(), or work on a copy")
        node = value if isinstance(value, Node) else value.node(tracked)
        assert node.shape == self._shape and node.dtype == self._dtype, (name, node, self._shape, self._dtype)
        if self._strides is not None and 0 in self._strides and not repeats and self._is_expanded():
            raise ShapeError(
                f"[{name}] unsupported operation: more than one element of the written-to tensor refers to "
                f"a single memory location: {tuple(self._shape)} is a view of an expanded tensor. Please "
                "clone() the tensor before performing the operation.")
        if replaces and tracked and self.requires_grad and node.size == history.root().size:
            node = ops.where(ops.const(True, bool_, node.shape), node, self.graph_node())
        made = self._made_by_write(value, name, replaces) if tracked else None
        history.write(self._chain, node, tracked)
        if made is not None:
            self._made_by = made
            if self._label is not None:
                made._label = self._label.text
        return self

    def _made_by_write(self, value: Node | Tensor, name: str, replaces: bool) -> GradFn:
        """What a recorded write makes this tensor; a base counts as made by copying into slices of it."""
        sources = [value] if isinstance(value, Tensor) else []
        if self._base is not None and self._chain:
            self._base._made_by = made_by("CopySlices", [self._base, *sources])
            return made_by("as_strided", [self._base])
        made = value._made_by if isinstance(value, Tensor) and not replaces else None
        return made or made_by(name, [self, *sources])

    def _is_expanded(self) -> bool:
        steps = zip(self._strides or (), self._shape, strict=False)
        return 0 not in self._shape and any(s == 0 and n > 1 for s, n in steps)

    # Copies that share nothing but the (immutable) node

    def detach(self) -> Tensor:
        """The same storage without the gradient history. A view."""
        history, chain = History(self._history.cell), self._history.prefix + self._chain
        return assemble(Tensor, history, chain, self._shape, self._dtype, self._strides, self._offset)

    @property
    def data(self) -> Tensor:
        """The same storage without the gradient history; assigning replaces the storage. What an operation
        made keeps its derivative, and takes a value of its own shape and dtype alone."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(f"[data] data has to be a tensor, but got {type(value).__name__}")
        token = self._history.token
        chain = value._history.prefix + value._chain
        cell = value._history.cell
        if not self.is_leaf:
            if value._shape != self._shape or value._dtype is not self._dtype:
                kept, given = (f"{tuple(x._shape)} of {x._dtype!r}" for x in (self, value))
                raise GradientError("[data] what an operation made can take a value of its own shape and "
                                    f"dtype alone: {kept}, not {given}; detach() it first")
            self._history, self._chain = History(cell, self.graph_node(), chain), ()
            self._history.version = -1  # another value than that of the node, which has the derivative
        elif self.requires_grad:
            assert token is not None
            token.cell = ref(cell)
            self._history, self._chain = History(cell, prefix=chain, token=token), ()
        else:
            self._history, self._chain = History(cell), chain
        self._shape, self._dtype = value._shape, value._dtype
        self._strides, self._offset = value._strides, value._offset
        self._plain_base = self._graph_root = None

    @staticmethod
    def _make_subclass(cls: type, data: Tensor, require_grad: bool = False) -> Any:
        """A tensor of a subclass that shares storage with `data`, a leaf if it requires a gradient."""
        history, chain = History(data._history.cell), data._history.prefix + data._chain
        made = assemble(cls, history, chain, data._shape, data._dtype, data._strides, data._offset)
        return made.requires_grad_(True) if require_grad else made

    def __hash__(self) -> int:
        return id(self)


register(Tensor)


def assemble(
    cls: type,
    history: History,
    chain: Chain,
    shape: Sequence[int],
    dtype: DType,
    strides: tuple[int, ...] | None,
    offset: int,
) -> Any:
    """A tensor of these parts."""
    made: Any = object.__new__(cls)
    made._history, made._chain = history, chain
    made._shape = shape if type(shape) is Size else Size(shape)
    made._dtype, made._strides, made._offset = dtype, strides, offset
    return made


def from_node(node: Node, device: str, tracked: bool = False, tainted: bool = False) -> Tensor:
    """A new tensor with its own storage. `tracked`: the node is differentiable and the tensor requires a
    gradient. `tainted`: the node's graph holds leaves although nothing is to flow into it."""
    cell = Cell(node, device, tracked or tainted)
    return assemble(Tensor, History(cell, node if tracked else None), (), node.shape, node.dtype, None, 0)


def apply(name: str, build: Callable[..., Node], *tensors: Tensor) -> Tensor:
    """The tensor that `build` makes of the tensors' nodes. Raises DeviceError for tensors on different
    devices."""
    tracked = mode.enabled and any(t.requires_grad for t in tensors)
    where = tensors[0]._history.cell.device
    if len(tensors) > 1 and any(t._history.cell.device != where for t in tensors):
        where = common_device(name, tensors)
        nodes = [_on_device(t.node(tracked), t._history.cell.device, where) for t in tensors]
    elif tracked:
        nodes = [t.graph_node() if t.requires_grad else t.plain_node() for t in tensors]
    else:
        nodes = [t.plain_node() for t in tensors]
    node = build(*nodes)
    differentiable = tracked and node.dtype.kind == "float"
    made = from_node(node, where, differentiable, tracked)
    if differentiable:
        made._made_by = made_by(name, tensors)
    return made


def common_device(name: str, tensors: Sequence[Tensor]) -> str:
    """The one device of all tensors that have dimensions. Raises DeviceError where there are two."""
    devices = list(dict.fromkeys(t._history.cell.device for t in tensors if t.ndim))
    if len(devices) > 1:
        raise DeviceError(f"[{name}] Expected all tensors to be on the same device, but found at least two "
                          f"devices, {devices[0].lower()} and {devices[1].lower()}! Move one by .to(device)")
    return devices[0] if devices else tensors[0]._history.cell.device


def _on_device(node: Node, source: str, target: str) -> Node:
    stays = source == target or node.op.name in ("scalar", "const")
    return node if stays else ops.copy(node, arg=(source, target))


def view_of(
    tensor: Tensor,
    movement: Movement | Sequence[Movement],
    shape: Sequence[int],
    strides: Sequence[int] | None,
    offset: int | None = None,
    name: str = "alias",
) -> Tensor:
    """A view of `tensor`: its elements through one movement or a list of them (see views.py), in place of a
    copy.

    `strides` and `offset` say how PyTorch's storage would be walked; strides None means row-major without
    gaps. `name` is the operation's for `grad_fn`.
    """
    single = isinstance(movement, tuple) and isinstance(movement[0], str)
    movements = (movement,) if single else tuple(movement)
    history, chain = tensor._history, tensor._chain + tuple(movements)
    if history.requires_grad and not mode.enabled:
        history, chain = History(history.cell), history.prefix + chain
    if strides is not None and tuple(strides) == row_strides_of(shape):
        strides = None
    steps = None if strides is None else tuple(strides)
    start = tensor._offset if offset is None else offset
    made = assemble(Tensor, history, chain, shape, tensor._dtype, steps, start)
    made._base = tensor if tensor._base is None else tensor._base
    if history.requires_grad:
        made._made_by = made_by(name, (tensor,))
        if tensor._made_by is not None and tensor._made_by._node is None:
            tensor.graph_node()
    return made


def storage_of(tensor: Tensor) -> Tensor:
    """The whole storage of a tensor as a view of one dimension."""
    history = tensor._history
    if history.prefix:  # a root over a part of a storage: the rest has no part in its gradient
        tracked, cell = mode.enabled and tensor.requires_grad, history.cell
        is_leaf = history.token is not None
        history = History(cell, write_back(cell.plain(), history.prefix, history.root()) if tracked else None)
        history.over_leaf = tracked and is_leaf
    chain, size = whole_row(history.cell.node, tensor._dtype)
    return assemble(Tensor, history, chain, (size,), tensor._dtype, None, 0)


def row_strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """PyTorch's strides of a contiguous tensor: empty dimensions count as one."""
    return row_strides([max(n, 1) for n in shape])


def _publish(names: Sequence[str], as_method: bool, as_function: bool) -> Callable[..., Any]:
    def decorate(definition: Callable[..., Any]) -> Callable[..., Any]:
        own = definition.__name__.rstrip("_") if not names else names[0]
        published = with_autocast(own, checked(own, definition))
        called = published
        if as_method and has_sizes(definition):
            called = with_autocast(own, checked(own, definition, grouped=True))
        for name in (own, *names[1:]):
            if as_method:
                setattr(Tensor, name, published)
            if as_function:
                FUNCTIONS[name] = called
        return definition

    return decorate


def function(*names: str) -> Callable[..., Any]:
    """Publish a definition as a function and as a method, under its own name or under `names`."""
    return _publish(names, True, True)


def method(*names: str) -> Callable[..., Any]:
    """Publish a definition as a method only."""
    return _publish(names, True, False)


def creator(*names: str) -> Callable[..., Any]:
    """Publish a definition as a function of the package only."""
    return _publish(names, False, True)
