"""Ways to the leaves of nested values, as PyTorch's utils._pytree tells them."""

from __future__ import annotations

import collections
import contextlib
import functools
from typing import Any

import pytest


class _Pair:
    def __init__(self, a: Any, b: Any):
        self.a, self.b = a, b


class _Keyless(_Pair):
    pass


def _with_keys(m: Any, p: _Pair) -> Any:
    return [(m.GetAttrKey("a"), p.a), (m.GetAttrKey("b"), p.b)], None


def test_ways_to_the_leaves_of_trees() -> None:
    from lazygrad.utils import _pytree as ours

    modules = [ours]
    with contextlib.suppress(ImportError):
        import torch.utils._pytree as theirs

        modules.append(theirs)
    named = collections.namedtuple("named", "u v")
    for m in modules:
        m.register_pytree_node(_Pair, lambda p: ([p.a, p.b], None), lambda new, _: _Pair(*new),
                               flatten_with_keys_fn=functools.partial(_with_keys, m))
        m.register_pytree_node(_Keyless, lambda p: ([p.a, p.b], None), lambda new, _: _Keyless(*new))
        tree = {"x": [1, (2, named(3, 4))], 3: collections.OrderedDict(q=7), "p": _Pair(5, [None]), "e": []}
        leaves, spec = m.tree_flatten_with_path(tree)
        assert [(m.keystr(path), leaf) for path, leaf in leaves] == [
            ("['x'][0]", 1), ("['x'][1][0]", 2), ("['x'][1][1].u", 3), ("['x'][1][1].v", 4), ("[3]['q']", 7),
            ("['p'].a", 5), ("['p'].b[0]", None),
        ]
        assert all(m.key_get(tree, path) is leaf for path, leaf in leaves)
        assert leaves == m.tree_leaves_with_path(tree) and spec == m.tree_structure(tree)
        assert leaves[3][0] == (m.MappingKey("x"), m.SequenceKey(1), m.SequenceKey(1), m.GetAttrKey("v"))
        assert m.tree_flatten_with_path(5)[0] == [((), 5)] and m.keystr(()) == ""
        whole = m.tree_leaves_with_path(tree, is_leaf=lambda v: isinstance(v, list))
        assert [m.keystr(path) for path, _ in whole] == ["['x']", "[3]['q']", "['p'].a", "['p'].b", "['e']"]
        sums = m.tree_map_with_path(lambda path, a, b, m=m: (m.keystr(path), a + b), {"a": 1, "b": (2,)},
                                    {"a": 10, "b": (20,)})
        assert sums == {"a": ("['a']", 11), "b": (("['b'][0]", 22),)}
        assert m.tree_is_leaf(3) and not m.tree_is_leaf([3]) and list(m.tree_iter(tree["x"])) == [1, 2, 3, 4]
        with pytest.raises(ValueError, match="Did not find a flatten_with_keys_fn for type"):
            m.tree_flatten_with_path([_Keyless(1, 2)])
        with pytest.raises(ValueError, match=r"Node arity mismatch; expected 2, but got 1\."):
            m.tree_map_with_path(lambda path, a, b: a, [1, 2], [1])
