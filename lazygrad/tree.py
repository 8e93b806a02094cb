"""Nested containers as flat lists: dicts, lists, tuples, named tuples, dataclasses, and classes that users
register; all else is a leaf."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

Rebuild = Callable[[list[Any]], Any]


@dataclasses.dataclass(frozen=True)
class Tree:
    """The shape of a nested value: a leaf where `kind` is None, else a container of parts."""

    kind: type | None
    keys: tuple[Any, ...] = ()
    parts: tuple[Tree, ...] = ()
    rebuild: Rebuild | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def count(self) -> int:
        """How many leaves it has."""
        return 1 if self.kind is None else sum(part.count for part in self.parts)

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The value with these leaves."""
        if self.rebuild is None:
            return leaves[0]
        children, at = [], 0
        for part in self.parts:
            children.append(part.unflatten(leaves[at : at + part.count]))
            at += part.count
        return self.rebuild(children)


LEAF = Tree(None)


@dataclasses.dataclass(frozen=True)
class Container:
    """How values of a registered class are opened, and made again of other children and the same context;
    and how they are opened with the way to each child before it."""

    flatten_fn: Callable[[Any], tuple[Sequence[Any], Any]]
    unflatten_fn: Callable[[list[Any], Any], Any]
    flatten_with_keys_fn: Callable[[Any], tuple[Sequence[tuple[Any, Any]], Any]] | None = None


REGISTERED: dict[type, Container] = {}


def _opened(value: Any) -> tuple[tuple[Any, ...], list[Any], Rebuild] | None:
    """Keys and children of a container, and what makes one of other children; None for a leaf."""
    kind = type(value)
    if kind in REGISTERED:
        container = REGISTERED[kind]
        children, context = container.flatten_fn(value)
        return (context,), list(children), lambda new: container.unflatten_fn(new, context)
    if kind is defaultdict:
        keys = tuple(value)
        return keys, list(value.values()), lambda new: defaultdict(value.default_factory, zip(keys, new,
                                                                                             strict=True))
    if kind in (dict, OrderedDict):
        keys = tuple(value)
        return keys, list(value.values()), lambda new: kind(zip(keys, new, strict=True))
    if kind in (list, tuple):
        return (), list(value), kind
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return kind._fields, list(value), lambda new: kind(*new)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = tuple(f.name for f in dataclasses.fields(value) if f.init)
        return names, [getattr(value, n) for n in names], lambda new: dataclasses.replace(
            value, **dict(zip(names, new, strict=True)))
    return None


def flatten(value: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Tree]:
    """The leaves of a nested value from left to right, and its shape. `is_leaf` may say that a container is
    one."""
    opened = None if is_leaf is not None and is_leaf(value) else _opened(value)
    if opened is None:
        return [value], LEAF
    keys, children, rebuild = opened
    leaves, parts = [], []
    for child in children:
        below, part = flatten(child, is_leaf)
        leaves += below
        parts.append(part)
    return leaves, Tree(type(value), keys, tuple(parts), rebuild)


def spread(prefix: Any, tree: Tree) -> list[Any] | None:
    """One value for each leaf of `tree`: a leaf of `prefix` counts for all below it. None where the prefix
    has another shape."""
    opened = None if tree.kind is None else _opened(prefix)
    if opened is None:
        return [prefix] * tree.count if _opened(prefix) is None else None
    keys, children, _ = opened
    # a list may stand for a tuple, as users write one number for each argument
    same_kind = type(prefix) is tree.kind or (type(prefix) in (list, tuple) and tree.kind in (list, tuple))
    if not same_kind or keys != tree.keys or len(children) != len(tree.parts):
        return None
    found: list[Any] = []
    for child, part in zip(children, tree.parts, strict=True):
        below = spread(child, part)
        if below is None:
            return None
        found += below
    return found
