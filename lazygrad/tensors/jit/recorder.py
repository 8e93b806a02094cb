"""`Recorder`: runs a function once with every tensor from outside replaced by a promise of its memory, so
that the graphs which the function builds hold for other values too.

A cell that existed before is given its promise when it is first read (`touch`). At the end the real values
are put into all graphs: `restore` leaves behind what an ordinary call would have left, `rewind` what was
before, so that a first replay can do the work.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from lazygrad import ops
from lazygrad.compositions.bounds import bounds, interval_of, record, unmeasured
from lazygrad.dtypes import DType
from lazygrad.engine import download, report, upload
from lazygrad.engine.capture import Promised
from lazygrad.errors import CaptureError, OutOfBoundsError
from lazygrad.graph import HostNumber, Node, intern, topological
from lazygrad.interpret import interpret
from lazygrad.tensors.cell import Cell, History, live_cells, pending_cells, tracked_histories
from lazygrad.tensors.core import Tensor, from_node
from lazygrad.tensors.realization import realize_alone, realize_node
from lazygrad.tensors.recording import now
from lazygrad.tensors.views import read_through


class Recorder:
    """One recording: `with recorder: function()`, then `restore()` or `rewind()`.

    `promised`: the promise of each cell that was read. `hosts`: what Python computes and changes at each run,
    in order. `limits`: the interval in which the integers of a promise must lie. `conditions`: the same of
    indices that are computed from promises, which they hold as well.
    """

    def __init__(self) -> None:
        self.before: dict[Cell, Node] = {cell: cell.node for cell in list(live_cells)}
        self._tainted = {cell: cell.tainted for cell in self.before}
        self._written: dict[Cell, tuple[Node, bool]] = {}
        self._old = {h for h in list(tracked_histories) if h.node is not None and not h.spent}
        self.promised: dict[Cell, Node] = {}
        self._parts: set[Cell] = set()
        self.originals: dict[Node, Node] = {}  # the value now of each promise
        self.hosts: list[tuple[Callable[[], Any], list[HostNumber]]] = []
        self.choices: dict[Hashable, tuple[Callable[[], bool], bool]] = {}
        self.limits: dict[Node, tuple[int, int]] = {}
        self.conditions: list[tuple[Node, tuple[int, int], list[Node]]] = []
        self._host_owned: set[Cell] = set()
        self._in_host = False

    def __enter__(self) -> Recorder:
        assert now.recorder is None
        now.recorder = self
        return self

    def __exit__(self, *_: object) -> None:
        now.recorder = None

    # Reading and writing storage

    def touch(self, cell: Cell) -> None:
        """Before a cell is read: one from outside gets its promise, unless the function has written it."""
        original = self.before.get(cell)
        if original is None or cell in self.promised or cell.node is not original or self._in_host:
            return
        if not cell.is_realized:
            realize_alone(cell)
            original = self.before[cell] = cell.node
            self._tainted[cell] = False
        value = original if cell.shared is None else cell.shared.node(cell)
        self.promised[cell] = cell.node = self._promise(value, True)

    def touch_root(self, history: History) -> None:
        """Before the graph of a history is used. Raises CaptureError for one that began outside."""
        if history in self._old:
            self.refuse("going on with the gradients of a tensor that was computed before the call",
                        "detach it, or compute it inside")
        self.touch(history.cell)

    def add_part(self, tensor: Tensor, value: Node) -> Tensor:
        """What the function gets in the stead of an argument that is a run of elements in a larger storage: a
        tensor of its own, a promise of these elements."""
        part = from_node(self._promise(value, False), tensor.cell.device)
        self._parts |= {tensor.cell, part.cell}
        return part

    def check_writable(self, cell: Cell) -> None:
        """Before a cell is written: one that Python writes is its own from now on. Raises CaptureError where
        a write would change an argument behind its promise."""
        if self._in_host:
            self._leave_to_host(cell)
        if cell in self._parts:
            self.refuse("writing to a storage of which an argument is a part", "pass a clone() of that part")

    def _promise(self, value: Node, is_whole: bool) -> Node:
        nbytes = max(value.size * value.dtype.itemsize, 1)
        promise = ops.buffer(Promised(nbytes, is_whole), value.dtype, value.shape)
        self.originals[promise] = value
        return promise

    def cell_of(self, promise: Node) -> Cell:
        """The cell that a promise stands for."""
        return next(cell for cell, node in self.promised.items() if node is promise)

    def written_cells(self) -> list[Cell]:
        """The cells from outside that the function wrote."""
        return [cell for cell in self.before if self.is_written(cell)]

    def is_written(self, cell: Cell) -> bool:
        """Whether the function gave a cell from outside another value."""
        node = self.before.get(cell)
        if node is None or cell in self._host_owned:
            return False
        return cell.node is not node and cell.node is not self.promised.get(cell)

    # Python's part

    def host_numbers(self, compute: Callable[[], Sequence[float]], dtype: DType) -> list[Node]:
        """Numbers that `compute` gives now and at each run, as scalar nodes."""
        if self._in_host:
            return [ops.scalar(value, dtype) for value in compute()]
        numbers = [HostNumber(value) for value in self._call(compute)]
        self.hosts.append((compute, numbers))
        return [ops.entry(number, dtype) for number in numbers]

    def host_array(self, compute: Callable[[], np.ndarray], dtype: DType, device: str) -> Node:
        """An array that `compute` gives now and at each run, as the promise of a storage that Python
        writes."""
        if self._in_host:
            return upload(compute(), dtype, device)
        cell = Cell(upload(self._call(compute), dtype, device), device)
        self.before[cell], self._tainted[cell] = cell.node, False
        self._host_owned.add(cell)
        self.promised[cell] = cell.node = self._promise(cell.node, True)
        self.hosts.append((lambda: cell.settle(upload(compute(), dtype, device)), []))
        return self.promised[cell]

    def at_each_run(self, effect: Callable[[], object]) -> None:
        """Change Python's state now and at each run."""
        self._call(effect)
        if not self._in_host:
            self.hosts.append((effect, []))

    def host_choice(self, key: Hashable, test: Callable[[], bool]) -> bool:
        """A decision of Python's, to be made again before each run."""
        if key not in self.choices:
            self.choices[key] = test, self._call(test)
        return self.choices[key][1]

    def _call(self, compute: Callable[[], Any]) -> Any:
        before, self._in_host = self._in_host, True
        try:
            return compute()
        finally:
            self._in_host = before

    def _leave_to_host(self, cell: Cell) -> None:
        self._host_owned.add(cell)
        if cell in self.promised:
            cell.node = self.before[cell]

    def is_host_owned(self, cell: Cell) -> bool:
        """Whether Python alone counts in this cell."""
        return cell in self._host_owned

    # Reading values

    def refuse(self, what: str, cure: str = "") -> None:
        """Raises CaptureError that names the line of the user."""
        hint = f": {cure}" if cure else ""
        raise CaptureError(f"[jit] {report.user_line()}: {what} cannot be repeated by a replay{hint}")

    def read(self, x: Tensor) -> np.ndarray:
        """The values of a tensor, which do not depend on what changes between runs. Raises CaptureError."""
        if self._in_host:
            return self._read_in_host(x)
        node = x.node(False)
        if any(map(is_variable, topological([node]))):
            self.refuse("reading a value in the function (item(), numpy(), bool(), print, a mask as index)",
                        "return the tensor and read it outside, or compute with where()")
        return self._computed(node, x.cell.device)

    def _read_in_host(self, x: Tensor) -> np.ndarray:
        """What Python reads at each run: nothing that the function has computed."""
        cell = x.cell
        inside = cell not in self.before and cell not in self._host_owned
        if inside or self.is_written(cell):
            self.refuse("deciding by a value that the function computed", "step after the call")
        node = self.originals.get(cell.node, cell.node)
        return self._computed(read_through(node, x._history.prefix + x._chain), cell.device)

    def _computed(self, node: Node, device: str) -> np.ndarray:
        if node.op.kind == "source" and node.op.name != "buffer":
            return np.array(interpret([node], download)[0])
        return download(node if node.op.name == "buffer" else realize_node(node, device))

    def check_index(self, op: str, index: Tensor, size: int, negative: bool) -> None:
        """As outside a recording; where the graph proves nothing, the integers of promises are given limits,
        first those of the index itself, then what they are now; and where these prove nothing (an index with
        some places masked), the index is computed again before each run."""
        node, lowest = index.plain_node(), -size if negative else 0
        sources = unmeasured(node)
        for wide in (True, False):
            for source in sources:
                low, high = self._interval(source)
                if wide and lowest <= low and high < size:
                    low, high = min(low, 0) and -size, size - 1
                record(source, low, high)
                if source in self.originals:
                    self.limits[source] = low, high
            low, high = bounds(node)
            if lowest <= low and high < size:
                return
        values = self._computed(substituted([node], self.originals, {})[0], index.cell.device)
        wrong = values[(values < lowest) | (values >= size)]
        if wrong.size:
            raise OutOfBoundsError(f"[{op}] index {int(wrong.flat[0])} is out of bounds for size {size}")
        variables = [n for n in topological([node]) if is_variable(n)]
        if not all(n in self.originals and n.dtype.kind != "float" for n in variables):
            self.refuse("an index whose bounds follow from no graph", "clamp() it to its dimension")
        record(node, lowest, size - 1)
        self.conditions.append((node, (lowest, size - 1), variables))

    def _interval(self, source: Node) -> tuple[int, int]:
        return interval_of(self.originals.get(source, source), download)

    # The end

    def rewind(self) -> None:
        """`restore`, but the cells that the function wrote hold again what they held before."""
        written = self.written_cells()
        self.restore()
        for cell in written:
            self._written[cell] = cell.node, cell.tainted
            cell.node, cell.tainted = self.before[cell], self._tainted[cell]
            if cell.is_realized:
                pending_cells.discard(cell)

    def redo(self) -> None:
        """After `rewind`: write what the function wrote, after all."""
        for cell, (node, tainted) in self._written.items():
            cell.write(node, tainted)

    def restore(self) -> None:
        """Put the values of now in the place of promises, in all cells and histories: what the function did
        is then what it would have done without a recording."""
        cells = [c for c in list(live_cells) if c in self.promised or self.before.get(c) is not c.node]
        histories = [h for h in list(tracked_histories) if h.node is not None]
        nodes = [c.node for c in cells] + [h.node for h in histories if h.node is not None]
        real = substituted(nodes, self.originals, {})
        for cell, node in zip(cells, real, strict=False):
            cell.node = node
            if cell.shared is not None:
                cell.shared.restored(cell)
        for history, node in zip(histories, real[len(cells):], strict=True):
            history.node = node


def is_variable(node: Node) -> bool:
    """Whether a source is given anew by each run."""
    return isinstance(node.arg, Promised | HostNumber)


def substituted(targets: Iterable[Node], values: dict[Node, Node], new: dict[Node, Node]) -> list[Node]:
    """The targets with promises replaced by values, and host's numbers by the numbers that they are now."""
    targets = list(targets)
    for node in topological(targets):
        if node in values:
            new[node] = values[node]
        elif isinstance(node.arg, HostNumber):
            new[node] = ops.scalar(node.arg.value, node.dtype)
        else:
            inputs = tuple([new.get(i, i) for i in node.inputs])
            if inputs != node.inputs:
                new[node] = intern(node.op, node.dtype, node.shape, inputs, node.arg)
    return [new.get(t, t) for t in targets]
