"""PyTorch's `utils._pytree`: nested containers as flat lists."""

from __future__ import annotations

import dataclasses
from collections import ChainMap, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.tree import LEAF, REGISTERED, Container, Tree, flatten

PyTree = Any
Context = Any
NodeDef = Container


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[Sequence[Any], Context]],
    unflatten_fn: Callable[[list[Any], Context], Any],
    **names: Any,
) -> None:
    """Let values of a class be containers: `flatten_fn(value)` gives children and a context that can be
    compared, `unflatten_fn(children, context)` the value again. What exporters need besides (`names`) is
    ignored. Raises ArgumentError for a class that is registered already."""
    if cls in REGISTERED:
        raise ArgumentError(f"[register_pytree_node] {cls} is already registered")
    REGISTERED[cls] = Container(flatten_fn, unflatten_fn)


_register_pytree_node = register_pytree_node


def register_dataclass(
    cls: type,
    *,
    field_names: Sequence[str] | None = None,
    drop_field_names: Sequence[str] | None = None,
    serialized_type_name: str | None = None,
) -> None:
    """Let values of a dataclass be containers of the fields that its constructor takes; or of `field_names`,
    where `drop_field_names` are the others, which get their defaults again. Raises ArgumentError for fields
    that are in neither."""
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    if field_names is not None:
        missing = {*fields} - {*field_names, *(drop_field_names or ())}
        if missing:
            raise ArgumentError("[register_dataclass] Missing fields in `field_names`: "
                                f"{sorted(missing)}: add them there, or to `drop_field_names`")
        fields = list(field_names)
    register_pytree_node(
        cls,
        lambda value: ([getattr(value, name) for name in fields], tuple(fields)),
        lambda children, context: cls(**dict(zip(context, children, strict=True))),
    )


def register_constant(cls: type) -> None:
    """Let values of a class be containers of nothing, told apart by their equality."""
    register_pytree_node(cls, lambda value: ([], value), lambda children, value: value)


@dataclasses.dataclass(frozen=True)
class MappingKey:
    """The way to a dict's value."""

    key: Any


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """The way to an element of a list or tuple."""

    idx: int


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """The way to an attribute."""

    name: str


def _dict_flatten(value: dict[Any, Any]) -> tuple[list[Any], Context]:
    return list(value.values()), list(value)


def _dict_unflatten(children: Iterable[Any], context: Context) -> dict[Any, Any]:
    return dict(zip(context, children, strict=True))


def _dict_flatten_with_keys(value: dict[Any, Any]) -> tuple[list[tuple[MappingKey, Any]], Context]:
    children, context = _dict_flatten(value)
    return [(MappingKey(k), v) for k, v in zip(context, children, strict=True)], context


_BUILT_IN: dict[Any, Container] = {
    dict: Container(_dict_flatten, _dict_unflatten),
    OrderedDict: Container(_dict_flatten, lambda new, keys: OrderedDict(zip(keys, new, strict=True))),
    defaultdict: Container(
        lambda value: (list(value.values()), (value.default_factory, list(value))),
        lambda new, context: defaultdict(context[0], zip(context[1], new, strict=True)),
    ),
    list: Container(lambda value: (list(value), None), lambda new, _: list(new)),
    tuple: Container(lambda value: (list(value), None), lambda new, _: tuple(new)),
    namedtuple: Container(lambda value: (list(value), type(value)), lambda new, kind: kind(*new)),
}
# PyTorch's names of how these are opened and made again
_list_flatten, _list_unflatten = _BUILT_IN[list].flatten_fn, _BUILT_IN[list].unflatten_fn
_tuple_flatten, _tuple_unflatten = _BUILT_IN[tuple].flatten_fn, _BUILT_IN[tuple].unflatten_fn
_namedtuple_flatten = _BUILT_IN[namedtuple].flatten_fn
_namedtuple_unflatten = _BUILT_IN[namedtuple].unflatten_fn
SUPPORTED_NODES = ChainMap[Any, Container](REGISTERED, _BUILT_IN)


def _get_node_type(tree: Any) -> Any:
    """The key of a value in SUPPORTED_NODES."""
    named = isinstance(tree, tuple) and type(tree) not in REGISTERED and hasattr(tree, "_fields")
    return namedtuple if named else type(tree)


class _OfTrees(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tree) and (cls is not LeafSpec or value.kind is None)


class TreeSpec(metaclass=_OfTrees):
    """The class of shapes, made of a key of SUPPORTED_NODES, its context and the shapes of its parts."""

    def __new__(cls, type: Any, context: Context, children_specs: Iterable[Tree]) -> Any:  # noqa: A002
        """The shape, as tree_flatten gives it."""
        container = SUPPORTED_NODES[type]
        return Tree(
            type, (context,), tuple(children_specs), lambda new: container.unflatten_fn(new, context)
        )


class LeafSpec(metaclass=_OfTrees):
    """The class of the shape of a leaf."""

    def __new__(cls) -> Any:
        """The shape."""
        return LEAF


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Tree]:
    """The leaves of a nested value, and its shape. Dataclasses are leaves unless they are registered."""

    def is_whole(value: Any) -> bool:
        unknown = dataclasses.is_dataclass(value) and type(value) not in REGISTERED
        return unknown or (is_leaf is not None and is_leaf(value))

    return flatten(tree, is_whole)


def tree_unflatten(leaves: Iterable[Any], treespec: Tree) -> Any:
    """The value of a shape with these leaves."""
    return treespec.unflatten(list(leaves))


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a nested value."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Tree:
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
