"""PyTorch's `utils._pytree`: nested containers as flat lists."""

from __future__ import annotations

import dataclasses
from collections import ChainMap, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    *,
    flatten_with_keys_fn: Callable[[Any], tuple[Sequence[tuple[Any, Any]], Context]] | None = None,
    **names: Any,
) -> None:
    """Let values of a class be containers: `flatten_fn(value)` gives children and a context that can be
    compared, `unflatten_fn(children, context)` the value again, `flatten_with_keys_fn` the children with the
    way to each before it. What exporters need besides (`names`) is ignored. Raises ArgumentError for a class
    that is registered already."""
    if cls in REGISTERED:
        raise ArgumentError(f"[register_pytree_node] {cls} is already registered")
    REGISTERED[cls] = Container(flatten_fn, unflatten_fn, flatten_with_keys_fn)


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
        flatten_with_keys_fn=lambda value: (
            [(GetAttrKey(name), getattr(value, name)) for name in fields], tuple(fields)
        ),
    )


def register_constant(cls: type) -> None:
    """Let values of a class be containers of nothing, told apart by their equality."""
    register_pytree_node(cls, lambda value: ([], value), lambda children, value: value,
                         flatten_with_keys_fn=lambda value: ([], value))


@dataclasses.dataclass(frozen=True)
class MappingKey:
    """The way to a dict's value."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        """The value."""
        return mapping[self.key]


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """The way to an element of a list or tuple."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        """The element."""
        return sequence[self.idx]


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """The way to an attribute."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, owner: Any) -> Any:
        """The attribute."""
        return getattr(owner, self.name)


KeyEntry = Any  # one of these, or what a `flatten_with_keys_fn` gives
KeyPath = tuple[KeyEntry, ...]


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


def _is_whole(value: Any, is_leaf: Callable[[Any], bool] | None) -> bool:
    unknown = dataclasses.is_dataclass(value) and type(value) not in REGISTERED
    return unknown or (is_leaf is not None and is_leaf(value))


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Tree]:
    """The leaves of a nested value, and its shape. Dataclasses are leaves unless they are registered."""
    return flatten(tree, lambda value: _is_whole(value, is_leaf))


def tree_is_leaf(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether a value is a leaf and no container."""
    return _is_whole(tree, is_leaf) or _get_node_type(tree) not in SUPPORTED_NODES


def tree_iter(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    """The leaves of a nested value, one after the other."""
    return iter(tree_leaves(tree, is_leaf))


def _with_keys(value: Any) -> Iterable[tuple[KeyEntry, Any]]:
    """The children of a container, each after the way to it."""
    kind = type(value)
    if kind in REGISTERED:
        opened = REGISTERED[kind].flatten_with_keys_fn
        if opened is None:
            raise ArgumentError("[tree_flatten_with_path] Did not find a flatten_with_keys_fn for type: "
                                f"{kind}. Please pass a flatten_with_keys_fn argument to "
                                "register_pytree_node.")
        return opened(value)[0]
    if isinstance(value, dict):
        return [(MappingKey(key), child) for key, child in value.items()]
    if hasattr(kind, "_fields"):
        return [(GetAttrKey(name), child) for name, child in zip(kind._fields, value, strict=True)]
    return [(SequenceKey(i), child) for i, child in enumerate(value)]


def tree_leaves_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> list[tuple[KeyPath, Any]]:
    """The leaves of a nested value, each after the way to it, a tuple of keys. Raises ArgumentError for
    values of a class that was registered without keys."""
    found: list[tuple[KeyPath, Any]] = []
    waiting: list[tuple[KeyPath, Any]] = [((), tree)]
    while waiting:
        path, here = waiting.pop()
        if tree_is_leaf(here, is_leaf):
            found.append((path, here))
        else:
            waiting += [((*path, key), child) for key, child in reversed(list(_with_keys(here)))]
    return found


def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[tuple[KeyPath, Any]], Tree]:
    """The leaves of a nested value as `tree_leaves_with_path` has them, and its shape."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(
    func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """func of the way to each leaf, and of the leaves of values of one shape, as a value of that shape.
    Raises ArgumentError for values of other shapes."""
    leaves, spec = tree_flatten_with_path(tree, is_leaf)
    others = [tree_leaves(rest) for rest in rests]
    for rest in others:
        if len(rest) != len(leaves):
            raise ArgumentError(f"[tree_map_with_path] Node arity mismatch; expected {len(leaves)}, but got "
                                f"{len(rest)}.")
    paths, values = [path for path, _ in leaves], [value for _, value in leaves]
    return spec.unflatten([func(*each) for each in zip(paths, values, *others, strict=True)])


def keystr(kp: KeyPath) -> str:
    """A way as text, as Python would walk it: ['weights'][0].bias"""
    return "".join(map(str, kp))


def key_get(obj: Any, kp: KeyPath) -> Any:
    """What a way leads to in a value."""
    for key in kp:
        obj = key.get(obj)
    return obj


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
