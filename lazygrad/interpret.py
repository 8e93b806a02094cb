"""The NumPy interpreter: it runs a graph node by node and so defines what every other device must compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lazygrad.dtypes import round_to
from lazygrad.graph import Node, consumers, topological


def inputs_to_run(node: Node) -> tuple[Node, ...]:
    """The inputs that a node's value needs: a saved node has its value already,
    a surrogate takes its first input."""
    if node.op.name == "saved":
        return ()
    return node.inputs[:1] if node.op.name == "surrogate" else node.inputs


def interpret(targets: Sequence[Node], read: Callable[[Node], np.ndarray]) -> list[np.ndarray]:
    """The values of `targets`; `read` gives the values of buffer and saved nodes. bfloat16 comes as
    float32."""
    order = topological(targets, inputs_to_run)
    uses = {node: len(users) for node, users in consumers(order, inputs_to_run).items()}
    for target in targets:
        uses[target] += 1
    values: dict[Node, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in order:
            if node.op.name in ("buffer", "saved"):
                values[node] = read(node)
            else:
                values[node] = run_node(node, [values[i] for i in inputs_to_run(node)])
            for i in inputs_to_run(node):
                uses[i] -= 1
                if not uses[i]:
                    del values[i]
    return [values[target] for target in targets]


def run_node(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One node's value from its inputs' values."""
    assert node.op.numpy is not None, node
    value = round_to(np.asarray(node.op.numpy(node, *arrays)), node.dtype)
    assert value.shape == node.shape, (node, value.shape)
    return value
