"""What functions of linear algebra share: checks of their inputs, and errors that depend on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad import dtypes
from lazygrad.compositions import axes
from lazygrad.errors import ArgumentTypeError, DTypeError, LinAlgError, ShapeError
from lazygrad.graph import Node, Shape
from lazygrad.tensors.core import Tensor, apply
from lazygrad.tensors.examples import of_all_examples
from lazygrad.tensors.promotion import pytorch_name
from lazygrad.tensors.recording import now
from lazygrad.tensors.signatures import checked
from lazygrad.tensors.values import read, read_nodes

# published under torch.linalg's names
LINALG: dict[str, Any] = {}


def linalg(name: str) -> Callable[[Any], Any]:
    """Publish a definition in lazygrad.linalg."""

    def publish(definition: Any) -> Any:
        definition.__name__ = definition.__qualname__ = name
        LINALG[name] = checked(name, definition)
        return definition

    return publish


def check_float(name: str, *tensors: Any) -> None:
    """Raises ArgumentTypeError for what is no tensor, DTypeError for integers and 16-bit floats."""
    for x in tensors:
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"[{name}] expected a Tensor, got {type(x).__name__}")
        if x.dtype.kind != "float":
            raise DTypeError(f"[{name}] {name}: Expected a floating point or complex tensor as input. Got "
                             f"{pytorch_name(x.dtype)}")
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise DTypeError(f"[{name}] {name}: Low precision dtypes not supported. Got "
                             f"{pytorch_name(x.dtype)}: convert it with .float() first")
    for x in tensors[1:]:
        if x.dtype is not tensors[0].dtype:
            raise DTypeError(f"[{name}] {name}: Expected the inputs to have the same dtype. Got "
                             f"{pytorch_name(tensors[0].dtype)} and {pytorch_name(x.dtype)}")


def check_matrices(name: str, *tensors: Any, what: str = "A") -> None:
    """As check_float; raises ShapeError for fewer than two dimensions."""
    check_float(name, *tensors)
    for x in tensors:
        if x.ndim < 2:
            raise ShapeError(f"[{name}] {name}: The input tensor {what} must have at least 2 dimensions, got "
                             f"shape {tuple(x.shape)}")


def check_square(name: str, x: Any, what: str = "A") -> None:
    """As check_matrices; raises ShapeError unless the last two sizes are equal."""
    check_matrices(name, x, what=what)
    rows, columns = x.shape[-2:]
    if rows != columns:
        raise ShapeError(f"[{name}] {name}: {what} must be batches of square matrices, but they are "
                         f"{rows} by {columns} matrices")


def check_fit(name: str, a: Tensor, b: Tensor, left: bool) -> None:
    """Raises ShapeError unless a system a x = b, or x a = b, has as many equations as b says."""
    if b.shape[-2 if left else -1] != a.shape[-1]:
        raise ShapeError(f"[{name}] {name}: Incompatible shapes of A and B for the equation "
                         f"{'AX = B' if left else 'XA = B'} ({a.shape[-2]}x{a.shape[-1]} and "
                         f"{b.shape[-2]}x{b.shape[-1]})")


def are_vectors(a: Tensor, b: Tensor) -> bool:
    """Whether b is a batch of vectors for a batch of matrices."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])


def one_batch(name: str, x: Node, y: Node) -> tuple[Node, Node]:
    """Both with the batch that theirs broadcast to; the last two axes stay."""
    batch = axes.broadcast_shape(name, x.shape[:-2], y.shape[:-2])
    return grown(x, batch), grown(y, batch)


def grown(x: Node, batch: Shape, kept: int = 2) -> Node:
    """x broadcast to a batch in front of its last axes."""
    return axes.broadcast(x, (*batch, *x.shape[x.ndim - kept :]))


def raise_where(name: str, info: Tensor, message: Callable[[int], str]) -> None:
    """Raises LinAlgError where info, a number for each matrix, is not 0; names the first such matrix.

    Under `jit` values are not known while a call is recorded: there nothing is checked.
    """
    if now.recorder is not None or not info.shape.numel():
        return
    every = of_all_examples(info)
    # inside vmap other tensors that wait for their value have none
    found = read(info) if every is info else read_nodes([every.plain_node()], info.cell.device)[0]
    values = found.reshape(-1)
    failed = values.nonzero()[0]
    if len(failed):
        place = f"(Batch element {failed[0]}): " if len(values) > 1 or info.ndim else ""
        raise LinAlgError(f"[{name}] {name}: {place}{message(int(values[failed[0]]))}")


# the names that PyTorch's graphs have for functions, where they are other ones
_OPERATIONS = {
    "linalg.cholesky": "linalg_cholesky_ex", "linalg.inv": "linalg_inv_ex", "linalg.solve": "linalg_solve_ex",
    "linalg.lu_factor": "linalg_lu_factor_ex", "linalg.svdvals": "linalg_svd", "svd": "linalg_svd",
    "linalg.eigvalsh": "linalg_eigh", "qr": "linalg_qr", "torch.linalg.lstsq": "linalg_pinv",
}


def made(name: str, build: Callable[..., Node], *tensors: Tensor) -> Tensor:
    """The tensor that `build` makes of the tensors' nodes, for the function of this name."""
    return apply(_OPERATIONS.get(name, name.replace(".", "_")), build, *tensors)


def several(name: str, result: Any, build: Callable[..., tuple[Node, ...]], *tensors: Tensor) -> Any:
    """A tuple of the type `result`, each part of it a tensor of one node that `build` makes."""
    count = len(result._fields)
    return result(*(made(name, lambda *nodes, i=i: build(*nodes)[i], *tensors) for i in range(count)))
