"""The order of kernels: legal, and such that little memory is held."""

import random

from graphs import contraction

from lazygrad import dtypes, ops
from lazygrad.scheduler.fuse import fuse
from lazygrad.scheduler.group import nbytes
from lazygrad.scheduler.order import order_groups
from lazygrad.source import Target

TARGET = Target("CPU", "llvm", vector_bytes=64, max_parameters=1000)


def most_held(groups, targets):
    """The most bytes of intermediates that an order holds at once; asserts that it is legal."""
    last = {node: step for step, group in enumerate(groups) for node in group.inputs}
    writer = {node: step for step, group in enumerate(groups) for node in group.outputs}
    held = most = 0
    for step, group in enumerate(groups):
        assert all(writer[n] < step for n in group.inputs if n in writer)
        held += sum(nbytes(n) for n in group.outputs if n not in targets)
        most = max(most, held)
        for node in {*group.inputs, *group.outputs} - set(targets):
            if node in writer and last.get(node, step) == step:
                held -= nbytes(node)
    return most


def network(layers, rows=256, width=64):
    """The gradients of the weights of a chain of layers, as a backward pass makes them, the first first."""
    weights = [ops.buffer(f"w{i}", dtypes.float32, (width, width)) for i in range(layers)]
    inputs = [ops.buffer("x", dtypes.float32, (rows, width))]
    for weight in weights:
        inputs.append(ops.tanh(contraction(inputs[-1], weight)))
    g, gradients = inputs.pop(), []
    for weight, x in reversed(list(zip(weights, inputs, strict=True))):
        gradients.insert(0, contraction(ops.permute(x, arg=(1, 0)), g))
        g = contraction(g, ops.permute(weight, arg=(1, 0)))
    return gradients, rows * width * 4


def test_gradients_of_weights_come_as_soon_as_they_free_memory():
    for layers in (4, 8):
        gradients, one = network(layers)
        groups, _ = fuse(gradients, TARGET)
        assert most_held(order_groups(groups, gradients), gradients) <= layers * one


def test_a_buffer_is_written_over_after_its_last_reader():
    weight = ops.buffer("w", dtypes.float32, (64, 64))
    x = ops.buffer("x", dtypes.float32, (256, 64))
    updated = ops.sub(weight, contraction(ops.permute(x, arg=(1, 0)), x))
    other = contraction(x, weight)
    for targets in ([updated, other], [other, updated]):
        groups, _ = fuse(targets, TARGET)
        order = order_groups(groups, targets, {weight: updated})
        assert order[-1].outputs == (updated,)


def test_any_order_is_legal_and_repeatable():
    for seed in range(20):
        choose = random.Random(seed)
        nodes = [ops.buffer(f"x{i}", dtypes.float32, (16, 16)) for i in range(3)]
        for _ in range(20):
            a, b = choose.choices(nodes, k=2)
            nodes.append(choose.choice([contraction, ops.add, lambda a, b: ops.exp(a)])(a, b))
        targets = list(dict.fromkeys(choose.choices(nodes[3:], k=4)))
        groups, _ = fuse(targets, TARGET)
        order = order_groups(groups, targets)
        most_held(order, targets)
        assert order == order_groups(groups, targets) and len(order) == len(groups)
