"""Fusion: which groups come out, why they end where they do, and that their order and memory are legal."""

import random

import pytest
from graphs import contraction, softmax

from lazygrad import dtypes, ops
from lazygrad.graph import topological
from lazygrad.scheduler.fuse import fuse
from lazygrad.scheduler.group import IN_MEMORY, nbytes
from lazygrad.scheduler.order import order_groups
from lazygrad.scheduler.schedule import plan_memory
from lazygrad.source import Target


def source(name, *shape, dtype=dtypes.float32):
    return ops.buffer(name, dtype, shape)


def groups_of(*targets, limit=1000):
    groups, reasons = fuse(targets, Target("CPU", "llvm", vector_bytes=64, max_parameters=limit))
    return order_groups(groups), reasons


X, Y, W = source("x", 4, 6), source("y", 4, 6), source("w", 6, 5)


def test_a_chain_is_one_group():
    groups, _ = groups_of(ops.exp(ops.add(X, Y)))
    assert [g.inputs for g in groups] == [(X, Y)]


def test_an_epilogue_joins_its_contraction_and_a_row_reduction_does_not():
    product = contraction(X, W)
    assert len(groups_of(ops.exp(product))[0]) == 1
    groups, reasons = groups_of(softmax(product, 1))
    assert len(groups) == 2
    assert any("places" in reason or "another reduction" in reason for reason in reasons.values())


def test_reductions_along_different_axes_are_two_kernels():
    rows, columns = ops.sum_(X, arg=(1,)), ops.sum_(X, arg=(0,))
    both = ops.add(ops.expand(rows, arg=X.shape), ops.expand(columns, arg=X.shape))
    groups, reasons = groups_of(both)
    assert len(groups) == 2
    assert "the kernel reduces along other axes already" in reasons.values()


def test_a_broadcast_is_not_stored():
    wide = ops.expand(ops.reshape(ops.exp(source("v", 6)), arg=(1, 6)), arg=(4, 6))
    targets = [ops.mul(wide, X), ops.reshape(ops.sum_(ops.mul(wide, Y), arg=(0,)), arg=(6,))]
    stored = {n for g in groups_of(*targets)[0] for n in g.outputs}
    assert all(n.op.name != "expand" for n in stored)


def test_what_a_sort_reads_is_stored():
    groups, _ = groups_of(ops.argsort(ops.exp(X), arg=(1, False)))
    assert [g.outputs[0].op.name for g in groups] == ["exp", "argsort"]


def test_few_long_rows_do_not_hold_back_what_is_stored_in_full():
    # one kernel would have two rows to share among the cores
    x = source("long", 2, 1 << 16)
    powers = ops.exp(x)
    assert len(groups_of(powers, ops.sum_(powers, arg=(1,)))[0]) == 2


def test_rows_that_are_apart_in_memory_are_folded_by_a_kernel_of_their_own():
    # statistics of channels: neither the outermost axis nor neighbours in memory
    x = source("images", 16, 32, 20, 20)
    mean = ops.sum_(x, arg=(0, 2, 3))
    centred = ops.sub(x, ops.expand(mean, arg=x.shape))
    groups, reasons = groups_of(centred)
    assert [g.outputs for g in groups] == [(mean,), (centred,)]
    assert any("apart in memory" in reason for reason in reasons.values())
    scale = ops.rsqrt(ops.reshape(mean, arg=(1, 32, 1, 1)))
    groups, _ = groups_of(ops.mul(x, ops.expand(scale, arg=x.shape)), scale)
    assert all(scale not in g.outputs or g.domain == (32,) for g in groups), "stored once for each image"


def test_storing_is_weighed_against_computing_again():
    columns = ops.buffer("wide", dtypes.float32, (512, 1024))

    def stored_with(between):
        # users along rows and along columns cannot be one kernel
        targets = [ops.sum_(between, arg=(0,)), ops.sum_(between, arg=(1,))]
        return sum(between in g.outputs for g in groups_of(*targets)[0])

    assert stored_with(ops.neg(columns)) == 0  # a negation costs less than two megabytes written and read
    dear = columns
    for _ in range(4):
        dear = ops.exp(ops.neg(dear))
    assert stored_with(dear) == 1


def test_the_end_of_a_contraction_is_stored_by_it():
    product = contraction(source("p", 64, 32), source("q", 32, 48))
    shifted = ops.add(product, source("bias", 64, 48))
    groups, _ = groups_of(softmax(shifted, 1))
    assert [shifted in g.outputs for g in groups] == [True, False]


def test_several_outputs_share_a_kernel():
    total = ops.add(X, Y)
    groups, _ = groups_of(ops.exp(total), total, ops.neg(total))
    assert len(groups) == 1 and len(groups[0].outputs) == 3


def test_no_kernel_takes_more_buffers_than_the_device_allows():
    sources = [source(f"s{i}", 10) for i in range(50)]
    total = sources[0]
    for s in sources[1:]:
        total = ops.add(total, s)
    groups, _ = groups_of(total, limit=8)
    assert len(groups) > 1
    assert all(len(g.inputs) + len(g.outputs) <= 8 for g in groups)


def random_graph(rng, steps=60):
    nodes = [source(f"n{i}", 4, 6) for i in range(4)]
    for _ in range(steps):
        x, y = rng.choice(nodes), rng.choice(nodes)
        kind = rng.randrange(6)
        if kind < 2:
            new = ops.add(x, ops.exp(y))
        elif kind == 2:
            new = softmax(x, rng.randrange(2))
        elif kind == 3:
            axis = rng.randrange(2)
            new = ops.sub(x, ops.expand(ops.max_(y, arg=(axis,)), arg=x.shape))
        elif kind == 4:
            square = contraction(x, ops.permute(ops.exp(y), arg=(1, 0)))
            new = contraction(ops.flip(square, arg=(0,)), ops.mul(x, y))
        else:
            new = ops.cumsum(x, arg=rng.randrange(2))
        nodes.append(new)
    return rng.sample(nodes[4:], 5) + [nodes[-1]]


@pytest.mark.parametrize("seed", range(25))
def test_random_schedules_are_legal(seed):
    rng = random.Random(seed)
    targets = list(dict.fromkeys(random_graph(rng)))
    groups, _ = groups_of(*targets, limit=rng.choice((6, 20, 1000)))
    stored = {}
    for number, group in enumerate(groups):
        for node in group.inputs:
            assert node.op.name in IN_MEMORY or stored.get(node, number) < number, "read before it is written"
        for node in group.outputs:
            assert node not in stored, "stored twice"
            stored[node] = number
        reached = topological(group.outputs, lambda n, g=group: () if n in g.inputs else n.inputs)
        assert all(n in group.inputs or n.op.name not in IN_MEMORY for n in reached)
    assert set(targets) <= set(stored)
    check_memory(groups, targets)


def check_memory(groups, targets):
    """No block holds two intermediates that are needed at the same time."""
    schedule = plan_memory(groups, targets, {})
    last = {n: i for i, g in enumerate(groups) for n in g.inputs}
    lives = {}
    for step, group in enumerate(groups):
        for node in group.outputs:
            slot, offset = schedule.places[node]
            if slot.kind == "block":
                assert schedule.blocks[slot.number] >= nbytes(node)
                lives.setdefault(slot.number, []).append((step, last.get(node, step)))
            elif slot.kind == "result":
                assert schedule.results[slot.number] == nbytes(node) and offset == 0
    for spans in lives.values():
        for (_, end), (begin, _) in zip(spans, spans[1:], strict=False):
            assert end < begin, "a block was reused too early"


def test_a_donated_buffer_is_overwritten_by_its_last_reader_only():
    weight = source("weight", 4, 100)
    updated = ops.sub(weight, source("gradient", 4, 100))
    later = ops.sum_(ops.mul(weight, weight), arg=(0, 1))
    groups, _ = groups_of(updated)
    assert plan_memory(groups, [updated], {weight: None}).places[updated][0].kind == "donated"
    groups = sorted(groups_of(updated, later)[0], key=lambda g: g.outputs[0] is later)
    if len(groups) == 2:  # the sum still reads the old weight afterwards
        assert plan_memory(groups, [updated, later], {weight: None}).places[updated][0].kind != "donated"
    taken = plan_memory(groups_of(updated)[0], [updated], {weight: later}).places[updated][0]
    assert taken.kind != "donated", "it was promised to another"
    turned = ops.permute(ops.sub(ops.permute(weight, arg=(1, 0)), source("g", 100, 4)), arg=(1, 0))
    flipped = ops.add(weight, ops.flip(weight, arg=(1,)))
    for target in (turned, flipped):
        kinds = plan_memory(groups_of(target)[0], [target], {weight: None}).places[target][0].kind
        assert target is turned or kinds != "donated", "it reads elements that were overwritten"


def test_a_kept_number_holds_no_slab_of_small_results():
    shared = ops.exp(source("y"))
    spread = ops.expand(ops.reshape(shared, arg=(1,)), arg=(4,))
    updated = []
    for i in range(12):
        updated.append(ops.mul(source(f"u{i}", 4), source(f"v{i}", 4)))
        updated.append(ops.add(updated[-1], spread))
        updated.append(ops.sub(updated[-1], source(f"w{i}", 4)))
    for count, kind in ((1, "result"), (8, "result"), (9, "slab")):
        numbers = [shared, *(ops.add(source(f"x{i}"), shared) for i in range(count - 1))]
        targets = [*updated, *numbers]
        places = plan_memory(groups_of(*targets)[0], targets, {}).places
        assert {places[node][0].kind for node in updated} == {"slab"}
        assert {places[node][0].kind for node in numbers} == {kind}
