"""PyTorch's `utils._pytree`: nested containers as flat lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lazygrad.tree import LEAF, flatten
from lazygrad.tree import Tree as TreeSpec

PyTree = Any
LeafSpec = LEAF


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a nested value, and its shape."""
    return ([tree], LEAF) if is_leaf is not None and is_leaf(tree) else flatten(tree)


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The value of a shape with these leaves."""
    return treespec.unflatten(list(leaves))


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a nested value."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The shape of a nested value."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """func of the leaves of values of one shape, as a value of that shape."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_leaves(rest) for rest in rests]
    return spec.unflatten([func(*values) for values in zip(leaves, *others, strict=True)])


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any) -> Any:
    """Call func of the leaves; the value itself."""
    tree_map(func, tree, *rests)
    return tree


def _is_of(kinds: Any) -> Callable[[Any], bool]:
    return kinds if callable(kinds) and not isinstance(kinds, type) else lambda x: isinstance(x, kinds)


def tree_map_only(kinds: Any, func: Callable[[Any], Any], tree: Any, is_leaf: Any = None) -> Any:
    """tree_map that changes the leaves of some types alone."""
    chosen = _is_of(kinds)
    return tree_map(lambda x: func(x) if chosen(x) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any) -> bool:
    """Whether pred holds for all leaves."""
    return all(map(pred, tree_leaves(tree)))


def tree_any(pred: Callable[[Any], bool], tree: Any) -> bool:
    """Whether pred holds for a leaf."""
    return any(map(pred, tree_leaves(tree)))


def tree_all_only(kinds: Any, pred: Callable[[Any], bool], tree: Any) -> bool:
    """Whether pred holds for all leaves of some types."""
    return all(pred(x) for x in tree_leaves(tree) if _is_of(kinds)(x))


def tree_any_only(kinds: Any, pred: Callable[[Any], bool], tree: Any) -> bool:
    """Whether pred holds for a leaf of some types."""
    return any(pred(x) for x in tree_leaves(tree) if _is_of(kinds)(x))
