"""`Replay`: one recording of a function, run again: which tensors it reads and writes, where its results go.

It is made in three steps: `finish` finds what the function did, `compile` makes the graph ready to run, `run`
checks that the recording holds, binds what is there now, and puts results where they belong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lazygrad import ops
from lazygrad.engine.capture import CapturedGraph, Promised, capture, copied
from lazygrad.errors import CaptureError
from lazygrad.graph import Node, topological
from lazygrad.tensors.cell import Cell, Token, tracked_histories
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.jit.blueprint import Blueprint, Maker, blueprint_of, structure_of
from lazygrad.tensors.jit.reachable import Arguments, difference, identity, reach
from lazygrad.tensors.jit.recorder import Recorder, substituted
from lazygrad.tensors.jit.stands import Condition, Output, Stand, Storage, buffer_node

MISS: Any = object()  # what `run` returns where the recording does not hold


class Replay:
    """A recording of one kind of arguments. `arguments` is the list that all places refer to."""

    def __init__(self, arguments: Arguments, roots: Sequence[tuple[Any, Any, str]]) -> None:
        self.arguments, self.roots = arguments, roots
        self.before = reach(roots)
        self.stands = [Stand(container, key, x) for container, key, x, _ in self.before.tensors]
        self.argument_stands = [s for s in self.stands if s.container is arguments]
        self.storages: dict[Cell, Storage] = {}
        self.changed: list[str] = []

    # Recording

    def promise_parts(self, recorder: Recorder) -> dict[int, Tensor]:
        """What the function is to get in the stead of arguments, by id, that are parts of storages."""
        self.parts: dict[Node, Stand] = {}
        self._known = {id(s.tensor): s for s in self.stands}
        found: dict[int, Tensor] = {}
        for stand in self.stands:
            if stand.part:
                x = stand.tensor
                node, size = buffer_node(x.cell), x._dtype.itemsize
                memory = node.arg.slice(x._offset * size, x._shape.numel() * size)
                value = ops.buffer(memory, x._dtype, x._shape)
                part = found[id(x)] = recorder.add_part(x, value)
                self.parts[part.cell.node] = self._known[id(part)] = stand
        return found

    def finish(self, recorder: Recorder, output: Any) -> None:
        """After the function ran, while cells still hold promises: what it did."""
        self.recorder = recorder
        self.hosts, self.choices = recorder.hosts, list(recorder.choices.values())
        self.targets: list[Node] = []
        self._target_of: dict[Cell, int] = {}
        self._find_changes(recorder)
        self.results: list[Blueprint] = []
        self.make_result: Maker = structure_of(output, self._result)
        self.written = [(self._storage(cell), self._target(cell)) for cell in recorder.written_cells()]
        self.graphs = [b.graph for b in self._blueprints() if b.graph is not None]
        order = topological([*self.targets, *self.graphs, *(node for node, _, _ in recorder.conditions)])
        self.used = [n for n in order if n in recorder.originals]
        arguments = {id(s.tensor): s for s in self.stands if isinstance(s.container, Arguments)}
        tokens = [n for n in order if n.op.name == "leaf" and isinstance(n.arg, Token)] if self.graphs else []
        self.leaves = {n: arguments[id(n.arg.tensor())] for n in tokens if id(n.arg.tensor()) in arguments}
        self._check(recorder, order)

    def _find_changes(self, recorder: Recorder) -> None:
        after = reach(self.roots)
        changed, gone = difference(self.before.tensors, after.tensors)
        grown = self.before.grown_lists()
        self.outputs: list[Output] = []
        self._places: dict[int, int] = {}
        for container, key in changed:
            x = container[key]
            if id(container) not in grown and not recorder.is_host_owned(x.cell):
                self._places.setdefault(id(x), len(self.outputs))
                self.outputs.append(Output(container, key, self._blueprint(x, place=True)))
        self.cleared = [(c, k) for c, k in gone if _is_empty(c, k)]
        self.moved = [(s, self._blueprint(s.tensor, place=True)) for s in self.stands
                      if s.tensor._history.cell is not s.history.cell and _stands(s)]
        places = [*changed, *self.cleared]
        self.changed = self.before.drop_changed({identity(*p) for p in places}, {id(c) for c, _ in places})

    def _storage(self, cell: Cell) -> Storage:
        if cell not in self.storages:
            self.storages[cell] = Storage(cell)
        return self.storages[cell]

    def _target(self, cell: Cell) -> int:
        if cell not in self._target_of:
            self._target_of[cell] = len(self.targets)
            self.targets.append(cell.node)
        return self._target_of[cell]

    def _result(self, x: Tensor) -> int:
        self.results.append(self._blueprint(x))
        return len(self.results) - 1

    def _blueprint(self, x: Tensor, place: bool = False) -> Blueprint:
        stand = self._known.get(id(x))
        source: tuple[str, Any]
        if not place and id(x) in self._places:
            source = "place", self._places[id(x)]
        elif not place and stand is not None and isinstance(stand.container, Arguments):
            source = "argument", stand.key
        elif not place and stand is not None and _stands(stand):
            source = "same", x
        elif x.cell in self.recorder.before:
            source = "storage", self._storage(x.cell)
        else:
            source = "target", self._target(x.cell)
        grad = x._grad if source[0] == "target" and not place else None
        return blueprint_of(x, source, None if grad is None else self._blueprint(grad))

    def _check(self, recorder: Recorder, order: Sequence[Node]) -> None:
        for history in list(tracked_histories):
            outside = history.cell in recorder.before and recorder.is_written(history.cell)
            if outside and history.node is not None and not history.spent and history.token is None:
                raise CaptureError("[jit] the function leaves a tensor from outside with a history of "
                                   "gradients, which a replay cannot repeat: write its detach()")
        devices = {c.device for c in self._target_of} | {s.history.cell.device for s in self.parts.values()}
        devices |= {recorder.cell_of(node).device for node in self.used if node not in self.parts}
        moves = any(node.op.name == "copy" for node in order)
        if len(devices) > 1 or moves:
            names = ", ".join(sorted(devices))
            raise CaptureError(f"[jit] the function works on several devices ({names}), a replay runs on "
                               "one: move tensors before the call")
        self.device = next(iter(devices), None)

    def compile(self) -> None:
        """Make the graph ready to run."""
        recorder = self.recorder
        self.reads = [self._reading(node, recorder) for node in self.used]
        read = dict(zip(self.used, self.reads, strict=True))
        self.conditions = [Condition(index, limits, {n: read[n] for n in promises})
                           for index, limits, promises in recorder.conditions]
        for stand in self.stands:
            storage = None if stand.part else self.storages.get(stand.history.cell)
            if storage is not None:
                stand.storage = storage
                storage.stands.append(stand)
        given, kept = self._overwritable()
        self.before.prepare()
        self.distinct = list(self.storages.values())
        self.with_stands = [s for s in {*self.distinct, *self.reads} if s.stands]
        promises = [s.promise for s in self.reads if s.promise is not None]
        self.graph: CapturedGraph | None = None
        if self.targets:
            assert self.device is not None
            self.graph = capture(self.targets, self.device, promises, given, kept)
            for number in self.graph.overwritten:
                self.reads[number].overwritten = True
        self.kept = [(o.blueprint.source[1], o) for o in self.outputs if o.blueprint.source[0] == "target"
                     and o.blueprint.source[1] in kept]
        for stand in self.stands:
            stand.tensor.forget_nodes()
        self.reusable = [False] * len(self.targets)
        self.targets = [ops.buffer(Promised(0), n.dtype, n.shape) for n in self.targets]  # their types alone
        # the cells of now, among them, may be out of use long before this recording is
        del self.recorder, self._target_of, self._known, self._places, self.parts, self.used, self.storages

    def _reading(self, node: Node, recorder: Recorder) -> Storage:
        stand = self.parts.get(node)
        if stand is not None:
            storage = Storage(stand.history.cell)
            storage.part = True
            storage.stands.append(stand)
            stand.storage = storage
        else:
            storage = self._storage(recorder.cell_of(node))
        storage.promise, storage.limits = node, recorder.limits.get(node)
        return storage

    def _blueprints(self) -> list[Blueprint]:
        return [*self.results, *(o.blueprint for o in self.outputs), *(b for _, b in self.moved)]

    def _overwritable(self) -> tuple[dict[Node, int], list[int]]:
        """Promises over whose memory a target may be written, and targets whose memory stays at a place."""
        alone = Counter(o.blueprint.source[1] for o in self.outputs if o.blueprint.source[0] == "target")
        shown = {id(b.source[1]) for b in self._blueprints() if b.source[0] == "storage"}
        given = {s: k for s, k in self.written if id(s) not in shown}
        taken = {k for _, k in self.written}
        at = {identity(s.container, s.key): s for s in self.stands}
        kept = []
        for output in self.outputs:
            source, k = output.blueprint.source
            if source != "target" or output.blueprint.gradient != "none" or alone[k] > 1 or k in taken:
                continue
            stand = at.get(identity(output.container, output.key))
            storage = None if stand is None else stand.storage
            output.stand = stand
            if storage is None or storage.promise is None:
                kept.append(k)
            elif storage.stands == [stand] and id(storage) not in shown:
                storage.output, output.storage = output, storage
                given[storage] = k
        if self.graphs:  # they read what was there before
            return {}, kept
        return {s.promise: k for s, k in given.items()
                if s.promise is not None and s.promise.dtype.kind == "float"}, kept

    # Running

    def run(self, arguments: Arguments) -> Any:
        """The function's result, or MISS where the recording does not hold for what there is now."""
        if arguments is not self.arguments:
            self.arguments[:] = arguments
        if not self.before.holds() or not self._take_stands() or not self._bring():
            return MISS
        for test, chosen in self.choices:
            if test() != chosen:
                return MISS
        for compute, numbers in self.hosts:
            values = compute()
            for number, value in zip(numbers, values if numbers else (), strict=True):
                number.value = value
        if self.hosts:
            inside = self._bring()  # the arrays that Python has just made
            assert inside, "what Python makes lies inside the limits that it gave"
        return self._run_noted()

    def run_first(self) -> Any:
        """The recorded call itself, whose numbers Python has given already."""
        inside = self._bring()
        assert inside, "a recording holds for what was recorded"
        return self._run_noted()

    def _run_noted(self) -> Any:
        fresh: list[Any] = []
        made = self._run(fresh)
        for held in fresh:  # now that nothing here holds them any more
            held.note()
        return made

    def _take_stands(self) -> bool:
        """Whether tensors of the same kinds stand at all places, none of them in two storages' stead."""
        moved = False
        try:
            for stand in self.stands:
                x = stand.container[stand.key]
                if x is not stand.tensor or x._history is not stand.history or x._chain is not stand.chain:
                    if not stand.accept(x):
                        return False
                    moved = True
        except (KeyError, IndexError, AttributeError, ValueError):
            return False
        return not moved or self._move_storages()

    def _move_storages(self) -> bool:
        for storage in self.with_stands:
            cell = storage.stands[0].history.cell
            if any(stand.history.cell is not cell for stand in storage.stands[1:]):
                return False
            storage.cell = cell
            if storage.part:
                storage.node = None
        cells = {id(storage.cell) for storage in self.distinct}
        written = {id(storage.cell) for storage, _ in self.written}
        apart = not any(storage.part and id(storage.cell) in written for storage in self.reads)
        return apart and len(cells) == len(self.distinct)

    def _bring(self) -> bool:
        """Whether all that is read is there, in buffers, and its integers are inside their limits."""
        for storage in self.reads:
            if storage.node is None or storage.cell.node is not storage.node:
                storage.bring()
                if not storage.is_inside():
                    return False
        return all(condition.holds() for condition in self.conditions)

    def _run(self, fresh: list[Any]) -> Any:
        for output in self.outputs:
            output.stays = output.is_sole()
        inputs = [copied(s.buffer, s.nbytes) if s.overwritten and not s.is_free() else s.buffer
                  for s in self.reads]
        bound = self._values_now() if self.graphs else {}
        for k, output in self.kept:
            self.reusable[k] = output.stays
        found = [] if self.graph is None else self.graph.run(inputs, self.reusable)
        cells: dict[int, Cell] = {}
        for storage, k in self.written:
            storage.cell.version += 1
            if found[k] is not storage.buffer or storage.cell.node is not storage.node:
                self._settle(storage, k, found[k])
                fresh.append(storage)
        for output in self.outputs:
            self._place(output, found, cells, bound, fresh)
        for stand, blueprint in self.moved:
            stand.tensor.data = self._make(blueprint, found, cells, bound)
        for container, key in self.cleared:
            container[key] = None
        return self.make_result([self._make(b, found, cells, bound) for b in self.results])

    def _settle(self, storage: Storage, k: int, buffer: Any) -> None:
        node = self.targets[k]
        storage.cell.settle(ops.buffer(buffer, node.dtype, node.shape))
        storage.hold()

    def _place(self, output: Output, found: Sequence[Any], cells: dict[int, Cell], bound: dict[Node, Node],
               fresh: list[Any]) -> None:
        source, k = output.blueprint.source
        if source == "target" and output.stays:
            assert output.tensor is not None
            cell = output.tensor._history.cell
            if cell.node.arg is found[k]:
                cells[k] = cell
                cell.version += 1
                return
        output.put(self._make(output.blueprint, found, cells, bound))
        if source == "target":
            fresh.append(output)

    def _make(self, blueprint: Blueprint, found: Sequence[Any], cells: dict[int, Cell],
              bound: dict[Node, Node]) -> Tensor:
        source, which = blueprint.source
        cell: Cell
        if source == "same":
            return which
        if source == "argument":
            return self.arguments[which]
        if source == "place":
            output = self.outputs[which]
            return output.container[output.key]
        if source == "storage":
            cell = which.cell
        elif which in cells:
            cell = cells[which]
        else:
            node = self.targets[which]
            assert self.device is not None
            cell = cells[which] = Cell(ops.buffer(found[which], node.dtype, node.shape), self.device)
        made = blueprint.make(cell, lambda node: substituted([node], bound, {})[0])
        if blueprint.grad is not None:
            made._grad = self._make(blueprint.grad, found, cells, bound)
        return made

    def _values_now(self) -> dict[Node, Node]:
        """For graphs that go on from results: what stands for each promise, and for each leaf among the
        arguments."""
        bound: dict[Node, Node] = {}
        for storage in self.reads:
            assert storage.promise is not None and storage.node is not None
            node = storage.node
            bound[storage.promise] = ops.buffer(storage.buffer, node.dtype, storage.promise.shape)
        for leaf, stand in self.leaves.items():
            bound[leaf] = stand.tensor.graph_node()
        return bound


def _stands(stand: Stand) -> bool:
    """Whether a stand's tensor is still there."""
    try:
        return stand.container[stand.key] is stand.tensor
    except (KeyError, IndexError, AttributeError, ValueError):
        return False


def _is_empty(container: Any, key: Any) -> bool:
    """Whether nothing stands at a place any more."""
    try:
        return container[key] is None
    except (KeyError, IndexError, AttributeError, ValueError):
        return False
