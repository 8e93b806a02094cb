"""utils._pytree: nested containers as flat lists, shapes made by hand, and classes that are registered."""

from __future__ import annotations

import dataclasses

import pytest


def test_pytree() -> None:
    from lazygrad.utils import _pytree as ours

    value = {"a": [1, (2, 3)], "b": 4}
    leaves, spec = ours.tree_flatten(value)
    assert leaves == [1, 2, 3, 4] and ours.tree_unflatten(leaves, spec) == value
    assert ours.tree_map(lambda x: x * 2, value) == {"a": [2, (4, 6)], "b": 8}
    assert ours.tree_map(lambda x, y: x + y, [1, 2], [3, 4]) == [4, 6]
    assert ours.tree_map_only(int, str, [1, "b", 2.0]) == ["1", "b", 2.0]
    assert ours.tree_any(lambda x: x > 3, value) and not ours.tree_all(lambda x: x > 3, value)


def test_shapes_can_be_made_by_hand() -> None:
    """As pytorch_lightning makes them, which flattens in its own way."""
    from collections import OrderedDict, defaultdict, namedtuple

    from lazygrad.utils import _pytree as ours

    point = namedtuple("point", "x y")
    inner = defaultdict(list, k=1)
    for value in ({"a": 1, "b": 2}, OrderedDict(b=1, a=2), [1, 2], (1, 2), point(1, 2), inner):
        kind = ours._get_node_type(value)
        children, context = ours.SUPPORTED_NODES[kind].flatten_fn(value)
        spec = ours.TreeSpec(kind, context, [ours.LeafSpec() for _ in children])
        again = ours.tree_unflatten([child * 10 for child in children], spec)
        assert type(again) is type(value) and again == ours.tree_map(lambda x: x * 10, value)
        assert isinstance(spec, ours.TreeSpec) and not isinstance(spec, ours.LeafSpec)
    assert isinstance(ours.tree_structure(1), ours.LeafSpec)
    assert ours._get_node_type(3) not in ours.SUPPORTED_NODES


def test_pytree_of_registered_classes() -> None:
    torch = pytest.importorskip("torch")
    import torch.utils._pytree as theirs

    from lazygrad.utils import _pytree as ours

    for tree in (theirs, ours):

        class Pair:
            def __init__(self, first, second, name):
                self.first, self.second, self.name = first, second, name

        @dataclasses.dataclass
        class Plain:
            x: int

        @dataclasses.dataclass
        class Partly:
            x: int
            y: int = 7

        @dataclasses.dataclass
        class Known:
            x: int
            y: int

        tree.register_pytree_node(
            Pair,
            lambda p: ([p.first, p.second], p.name),
            lambda parts, name: Pair(*parts, name),
            serialized_type_name=f"{tree.__name__}.Pair",
        )
        tree.register_dataclass(Known)
        with pytest.raises(ValueError, match="Missing fields in `field_names`.*'y'"):
            tree.register_dataclass(Partly, field_names=["x"])
        tree.register_dataclass(Partly, field_names=["x"], drop_field_names=["y"])
        parts, shape = tree.tree_flatten(Partly(1, 2))
        assert parts == [1] and tree.tree_unflatten(parts, shape) == Partly(1, 7)
        value = {"a": Pair(1, [2, 3], "n"), "b": Plain(4), "c": Known(5, 6)}
        leaves, spec = tree.tree_flatten(value)
        assert leaves == [1, 2, 3, Plain(4), 5, 6]
        again = tree.tree_map(lambda x: x if isinstance(x, Plain) else x + 1, value)
        assert (again["a"].first, again["a"].second, again["a"].name) == (2, [3, 4], "n")
        assert again["c"] == Known(6, 7)
        assert tree.tree_leaves(value, is_leaf=lambda x: isinstance(x, list)) == [1, [2, 3], Plain(4), 5, 6]
        assert tree.tree_structure(value) == spec
        with pytest.raises(ValueError, match="already registered"):
            tree.register_pytree_node(Pair, None, None)
    assert torch is not None
