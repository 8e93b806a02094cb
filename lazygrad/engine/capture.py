"""Capture: a graph as a plan with memory of its own, which runs again and again over other data.

A captured graph reads no buffers but promises (`Promised`), for which each run gives buffers, and numbers
that Python computes (`HostNumber`). On devices with kernels a run is one native call: what changed since the
last run is bound, nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any
from weakref import ref

import numpy as np

from lazygrad import config
from lazygrad.dtypes import DType, from_storage, to_storage
from lazygrad.engine import download, find_plan, report, take_slices, uploaded
from lazygrad.engine.backend import SCALARS
from lazygrad.engine.plan import pack
from lazygrad.graph import HostNumber, Node, intern, topological
from lazygrad.interpret import interpret
from lazygrad.runtime.device import Buffer, Device, Part
from lazygrad.runtime.registry import open_device
from lazygrad.scheduler.group import inputs_in_plan

KEPT_BYTES = 1 << 20  # intermediates up to this size stay allocated between runs


class Promised:
    """Stands for the memory of a value: of one that an earlier program would have computed, or that each run
    of a captured graph gives. `is_whole`: no part of a larger buffer."""

    def __init__(self, nbytes: int, is_whole: bool = True):
        self.nbytes, self.offset, self.is_whole = nbytes, 0, is_whole
        self._root: Promised | None = None

    @property
    def storage(self) -> Promised:
        """What this is a part of; itself, if of nothing else."""
        return self if self._root is None else self._root

    def slice(self, offset: int, nbytes: int) -> Promised:
        """A part, `nbytes` from byte `offset` on."""
        part = Promised(nbytes, False)
        part.offset, part._root = self.offset + offset, self.storage
        return part


def copied(buffer: Buffer, nbytes: int) -> Buffer:
    """A buffer of its own with the first bytes of another one."""
    made = buffer.device.allocate(nbytes)
    buffer.device.copy(made, buffer, nbytes)
    return made


def capture(targets: Sequence[Node], device: str, promises: Sequence[Node], given: Mapping[Node, int],
            kept: Collection[int]) -> CapturedGraph:
    """A graph ready to run many times; `promises`: the buffer nodes for which each run gives a buffer.

    `given`: promises over whose memory a result may be written, with the number of that target. `kept`:
    numbers of targets whose memory a run may use again for the same target, where the caller says that it
    may.
    """
    targets = _without_surrogates(targets)
    if device == "NUMPY":
        return InterpretedGraph(targets, open_device(device), promises)
    return PlannedGraph(targets, open_device(device), promises, given, kept)


def _without_surrogates(targets: Sequence[Node]) -> list[Node]:
    new: dict[Node, Node] = {}
    for node in topological(targets):
        inputs = tuple([new.get(i, i) for i in node.inputs])
        if node.op.name == "surrogate":
            new[node] = inputs[0]
        elif inputs != node.inputs:
            new[node] = intern(node.op, node.dtype, node.shape, inputs, node.arg)
    return [new.get(t, t) for t in targets]


class CapturedGraph:
    """What both kinds share. `overwritten`: numbers of the promises whose memory a run writes over."""

    overwritten: frozenset[int] = frozenset()

    def run(self, inputs: Sequence[Buffer], reusable: Sequence[bool]) -> list[Buffer]:
        """The buffers of the targets, in order; those that are not kept are new ones.

        `inputs`: a buffer for each promise, a whole one where a whole one was promised. `reusable`: for each
        target, whether the buffer that the last run gave for it may be written again.
        """
        raise AssertionError(f"{type(self).__name__} cannot run")


class InterpretedGraph(CapturedGraph):
    """The reference: the graph is interpreted at each run, and all results are new."""

    def __init__(self, targets: Sequence[Node], device: Device, promises: Sequence[Node]) -> None:
        self.targets, self.device = targets, device
        self.number = {node.arg: i for i, node in enumerate(promises)}

    def run(self, inputs: Sequence[Buffer], reusable: Sequence[bool]) -> list[Buffer]:
        def read(node: Node) -> np.ndarray:
            if not isinstance(node.arg, Promised):
                return download(node)
            bits = np.empty(node.shape, node.dtype.storage)
            given = inputs[self.number[node.arg]]
            self.device.copy_out(given, bits)
            return from_storage(bits, node.dtype)

        values = interpret(self.targets, read)
        return [uploaded(to_storage(np.asarray(v), n.dtype), self.device)
                for v, n in zip(values, self.targets, strict=True)]


class PlannedGraph(CapturedGraph):
    """A plan whose launches are prepared once. A run gives them the buffers that are others than before."""

    def __init__(self, targets: Sequence[Node], device: Device, promises: Sequence[Node],
                 given: Mapping[Node, int], kept: Collection[int]) -> None:
        self.device, self.kept = device, frozenset(kept)
        gifts = {node.arg: number for node, number in given.items()}
        known: dict[Node, Node] = {}
        order = take_slices(targets, topological(targets, inputs_in_plan), known, gifts)
        plan, sources, fresh = find_plan(targets, device, gifts, order, known)
        self.plan = plan
        report.schedule_line(device, [s.kernel for s in plan.steps], plan.seconds if fresh else None,
                             plan.compiled, plan.from_disk)
        self.replay = device.prepare([(s.kernel.program, (*s.memory, *s.tables)) for s in plan.steps])
        self.launch = self.replay.launcher()
        self.names = frozenset(self.replay.least)
        # what each name is bound to, from which byte on; weakly, since the buffers' owners keep them
        self.buffers: dict[Hashable, tuple[ref[Buffer], int]] = {}
        number = {node.arg: i for i, node in enumerate(promises)}
        # the number of each source's promise; -1 for a buffer that never changes
        self.promise = [number.get(_root(node), -1) for node in sources]
        self.fixed = {n: node.arg for n, node in enumerate(sources)
                      if self.promise[n] < 0 and node.op.name in ("buffer", "saved")}
        self.overwritten = frozenset(self.promise[n] for n in plan.donated)
        self._bind_fixed()
        self._lay_out_inputs(sources, len(promises))
        self._lay_out_numbers(sources)
        self._lay_out_results(sources)

    # Preparing

    def _bind(self, name: Hashable, buffer: Buffer, begin: int = 0) -> None:
        if name in self.names:
            self.replay.bind(name, buffer, begin)
            self.buffers[name] = ref(buffer), begin

    def _bind_fixed(self) -> None:
        for n, buffer in self.fixed.items():
            self._bind(("source", n), buffer)
            self._bind(("root", n), buffer.storage)
        plan = self.plan
        sizes: dict[Hashable, int] = {("small", 0): plan.small} if plan.small else {}
        sizes |= {("block", number): size for number, size in enumerate(plan.blocks)}
        self.intermediates = {name: size for name, size in sizes.items() if name in self.names}
        self.blocks: list[Buffer] = []
        if sum(self.intermediates.values()) <= KEPT_BYTES:
            self.blocks = self._allocate_intermediates()
            self.intermediates = {}

    def _allocate_intermediates(self) -> list[Buffer]:
        made = []
        for name, size in self.intermediates.items():
            made.append(self.device.allocate(size))
            self._bind(name, made[-1])
        return made

    def _lay_out_inputs(self, sources: Sequence[Node], count: int) -> None:
        self.bound: list[Any] = [_nothing] * count  # weak references: the caller owns what it gives
        # the names for each promise, and which of its bytes a name begins with
        self.names_of: list[list[tuple[Hashable, int]]] = [[] for _ in range(count)]
        self.roots_of: list[list[Hashable]] = [[] for _ in range(count)]
        for n, promise in enumerate(self.promise):
            if promise >= 0 and ("source", n) in self.names:
                self.names_of[promise].append((("source", n), sources[n].arg.offset))
            if promise >= 0 and ("root", n) in self.names:
                self.roots_of[promise].append(("root", n))

    def _lay_out_numbers(self, sources: Sequence[Node]) -> None:
        """The bytes of the buffer that carries numbers: constants at once, others before each run."""
        plan = self.plan
        self.packed = np.zeros(plan.scalar_bytes, np.uint8)
        # value, dtype, offset, and its bytes as an array of one element, where NumPy has the dtype
        self.numbers: list[tuple[HostNumber, DType, int, Any]] = []
        for n, dtype, offset in plan.scalars:
            value = sources[n].arg
            if isinstance(value, HostNumber):
                end = offset + dtype.itemsize
                held = self.packed[offset:end].view(dtype.numpy) if dtype.numpy == dtype.storage else None
                self.numbers.append((value, dtype, offset, held))
            pack(self.packed, value.value, dtype, offset)
        words = self.packed.view(np.int64) if plan.starts else self.packed
        self.starts: list[tuple[int, int, int, int]] = []  # promise, extra bytes, item size, place
        for n, place in plan.starts:
            part, size = sources[n].arg, sources[n].dtype.itemsize
            if self.promise[n] >= 0:
                self.starts.append((self.promise[n], part.offset, size, place))
            else:
                words[place] = part.offset // size
        self.values: list[Any] = []
        if plan.scalar_bytes:
            self.scalars = self.device.allocate(plan.scalar_bytes)
            self._bind(SCALARS, self.scalars)
            self.device.copy_in(self.scalars, self.packed)

    def _lay_out_results(self, sources: Sequence[Node]) -> None:
        """What to do for each target, by the kind of its place."""
        self.slab: Buffer | None = None
        self.last: list[Buffer | None] = [None] * len(self.plan.targets)
        self.places: list[tuple[str, Any, int]] = []  # (kind, where, bytes)
        self.kept_slab = False
        self.twins: list[tuple[int, int]] = []  # targets of one value: each gets memory of its own
        first: dict[Any, int] = {}
        for k, (slot, offset, dtype, shape) in enumerate(self.plan.targets):
            nbytes = dtype.itemsize * int(np.prod(shape))
            if not isinstance(slot, int) and first.setdefault((slot, offset), k) != k:
                self.twins.append((k, first[slot, offset]))
                self.places.append(("twin", None, nbytes))
            elif isinstance(slot, int):
                node = sources[slot]
                kind = "number" if node.op.name in ("scalar", "const") else "alias"
                where: Any = (slot, node.arg) if kind == "number" else (slot, node.arg.offset)
                self.places.append((kind, where, nbytes))
            elif slot.kind == "donated":
                self.places.append(("donated", self.promise[self.plan.donated[slot.number]], nbytes))
            elif slot.kind == "slab":
                self.kept_slab |= k in self.kept
                self.places.append(("slab", offset, nbytes))
            else:
                self.places.append(("result", (slot.kind, slot.number), nbytes))

    # Running

    def run(self, inputs: Sequence[Buffer], reusable: Sequence[bool]) -> list[Buffer]:
        for number, buffer in enumerate(inputs):
            if self.bound[number]() is not buffer:
                for name, begin in self.names_of[number]:
                    self._bind(name, buffer, begin)
                for name in self.roots_of[number]:
                    self._bind(name, buffer.storage)
                self.bound[number] = ref(buffer)
        if self.numbers or self.starts:
            self._send_numbers(inputs)
        found = self._results(inputs, reusable)
        blocks = self._allocate_intermediates() if self.intermediates else ()
        if config.get("DEBUG"):
            self._run_told()
        else:
            self.launch()
        del blocks
        if self.kept_slab:
            for k, (kind, offset, nbytes) in enumerate(self.places):
                if kind == "slab" and k not in self.kept:
                    assert self.slab is not None
                    found[k] = copied(self.slab.slice(offset, nbytes), nbytes)
        for k, twin in self.twins:
            found[k] = copied(found[twin], self.places[k][2])
        return found

    def results_alone(self) -> bool:
        """Whether a run does nothing but launch, and each target has memory of its own: then whoever has
        given all inputs by `run` may exchange results by `bind_result`, and `launch`."""
        busy = self.numbers or self.starts or self.intermediates or self.kept
        return not busy and all(kind == "result" for kind, _, _ in self.places)

    def bind_result(self, target: int, buffer: Buffer) -> None:
        """Let the launches put a target into a buffer of its size."""
        self._bind(self.places[target][1], buffer)

    def _send_numbers(self, inputs: Sequence[Buffer]) -> None:
        values: list[Any] = [number.value for number, _, _, _ in self.numbers]
        for promise, extra, size, _ in self.starts:
            values.append((inputs[promise].offset + extra) // size)
        if values == self.values:
            return
        self.values = values
        with np.errstate(all="ignore"):
            for value, (_, dtype, offset, held) in zip(values, self.numbers, strict=False):
                if held is None:
                    pack(self.packed, value, dtype, offset)
                else:
                    held[0] = value
        if self.starts:
            words = self.packed.view(np.int64)
            for value, (_, _, _, place) in zip(values[len(self.numbers):], self.starts, strict=True):
                words[place] = value
        self.device.copy_in(self.scalars, self.packed)

    def _results(self, inputs: Sequence[Buffer], reusable: Sequence[bool]) -> list[Buffer]:
        """The buffers that the targets will be in, bound where they are new."""
        device, last = self.device, self.last
        if self.plan.slab:
            self._find_slab(reusable)
        found: list[Any] = []
        for k, (kind, where, nbytes) in enumerate(self.places):
            made: Any = None
            if kind == "donated":
                made = inputs[where]
            elif kind == "slab":
                made = last[k]
                if made is None and (k in self.kept or not self.kept_slab):
                    assert self.slab is not None
                    made = self.slab.slice(where, nbytes)
            elif kind == "result":
                made = last[k] if reusable[k] else None
                if made is None:
                    made = device.allocate(nbytes)
                    self._bind(where, made)
            elif kind == "alias":  # before the launches, which may write over what is read here
                source, offset = where
                buffer = inputs[self.promise[source]] if self.promise[source] >= 0 else self.fixed[source]
                made = copied(buffer.slice(offset, nbytes), nbytes)
            elif kind == "number":
                source, number = where
                dtype = self.plan.targets[k][2]
                made = uploaded(to_storage(np.asarray(number.value, dtype.numpy), dtype), device)
            if k in self.kept and kind != "twin":
                last[k] = made
            found.append(made)
        return found

    def _find_slab(self, reusable: Sequence[bool]) -> None:
        """New memory for small results, unless the last run's may be used again."""
        kept = [k for k, (kind, _, _) in enumerate(self.places) if kind == "slab" and k in self.kept]
        if self.slab is None or not kept or not all(reusable[k] for k in kept):
            self.slab = self.device.allocate(self.plan.slab)
            self._bind(("slab", 0), self.slab)
            for k in kept:
                self.last[k] = None

    def _run_told(self) -> None:
        """A run with DEBUG set: what it did is printed."""
        kernels = [step.kernel for step in self.plan.steps]
        report.replay_line(self.device, len(kernels))
        if config.get("DEBUG") < 2:
            self.replay.run()
        else:
            launches = [(program, [self._bound_to(name) for name in names])
                        for program, names in self.replay.launches]
            report.run_timed(self.device, kernels, launches)

    def _bound_to(self, name: Any) -> Buffer:
        if isinstance(name, Buffer):
            return name
        if isinstance(name, Part):
            return name.of(self._bound_to(name.name))
        found, begin = self.buffers[name]
        buffer = found()
        assert buffer is not None, name
        return Part(name, begin).of(buffer) if begin else buffer


def _nothing() -> None:
    """A reference to nothing yet."""


def _root(node: Node) -> Any:
    """The promise that a source is, or is a part of."""
    return node.arg.storage if isinstance(node.arg, Promised) else None
