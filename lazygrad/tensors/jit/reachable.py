"""What a function can see: the tensors and Python values that its closure, globals, arguments and the objects
among them hold, each with the place where it stands.

A replay holds only while these values are the same; the tensors may be others of the same kind. Classes may
say what matters of their objects: `_replay_structure(self)` returns a value that must stay equal,
`_replay_places(self)` the places (container, key) to walk on from. Of users' classes and modules the members
count that code mentions. Modules, classes and functions of libraries count as constants, as do arrays, and
lists and dicts of more than MOST entries.
"""

from __future__ import annotations

import builtins
import dis
import functools
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from operator import is_, itemgetter
from typing import Any

from lazygrad.dtypes import DType
from lazygrad.tensors.core import Tensor

MOST = 4096
_PLAIN = (type(None), bool, int, float, complex, str, bytes, DType, range, slice)
_OPAQUE = (types.BuiltinFunctionType, types.GetSetDescriptorType, types.MemberDescriptorType)
# what wraps a function, and under which names
_WRAPPERS: dict[type, tuple[str, ...]] = {
    functools.partial: ("func", "args", "keywords"), property: ("fget", "fset", "fdel"),
    functools.partialmethod: ("func", "args", "keywords"), functools.cached_property: ("func",),
    staticmethod: ("__func__",), classmethod: ("__func__",), functools._lru_cache_wrapper: ("__wrapped__",),
}
_ROOTS = frozenset(sys.stdlib_module_names) | {"lazygrad", "numpy"}


class Attributes:
    """An object as a container of its attributes."""

    __slots__ = ("of",)

    def __init__(self, of: Any) -> None:
        self.of = of

    def __getitem__(self, name: str) -> Any:
        return getattr(self.of, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.of, name, value)


class ClassAttributes(Attributes):
    """A class as a container of its attributes as they stand there, unbound."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        return self.of.__dict__[name]


class Arguments(list):
    """The tensors among the arguments of a call: others at each call. `parts`: for each, whether it is a run
    of elements in a larger storage, without a gradient and alone there: its place in memory is then data."""

    parts: list[bool]

    def mark_parts(self) -> None:
        """Find the parts."""
        cells = [x._history.cell for x in self]
        shared = len(set(cells)) < len(cells)
        self.parts = [_is_part(x) and not (shared and cells.count(x._history.cell) > 1) for x in self]


def _is_part(x: Tensor) -> bool:
    return bool((x._chain or x._history.prefix) and not x.requires_grad and x._shape.numel()
                and x.is_contiguous() and x._history.cell.node.dtype is x._dtype)


class OfArgument(Attributes):
    """The argument that stands at a place now, as a container of its attributes."""

    __slots__ = ("arguments", "place")

    def __init__(self, arguments: Arguments, place: int) -> None:
        self.arguments, self.place = arguments, place

    def __getitem__(self, name: str) -> Any:
        return getattr(self.arguments[self.place], name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.arguments[self.place], name, value)


class Structure:
    """What an object says must stay equal, as a container of one entry."""

    __slots__ = ("of",)

    def __init__(self, of: Any) -> None:
        self.of = of

    def __getitem__(self, _: object) -> Hashable:
        return self.of._replay_structure()


class Length:
    """A container's length, as a container of one entry."""

    __slots__ = ("of",)

    def __init__(self, of: Any) -> None:
        self.of = of

    def __getitem__(self, _: object) -> int:
        return len(self.of)


Place = tuple[Any, Any]  # container and key: container[key] stands there


class Reach:
    """Everything that was found, by place. `values`: (container, key, value, name) to compare by identity or,
    where plain, by what they print; `tensors`: (container, key, tensor, name)."""

    def __init__(self) -> None:
        self.values: list[tuple[Any, Any, Any, str]] = []
        self.tensors: list[tuple[Any, Any, Tensor, str]] = []
        self._groups: list[tuple[Any, Any, tuple[Any, ...], list[tuple[Any, Any, Any]]]] = []
        self._measured: tuple[list[Any], list[int]] = [], []
        self._single: list[tuple[Any, Any, Any]] = []
        self._structures: list[tuple[Any, Any]] = []

    def prepare(self) -> None:
        """Sort the values so that `holds` is fast: by container, lengths together, and the rest. Nothing else
        can be asked afterwards: tensors that were found are kept by nobody here."""
        by_container: dict[int, list[tuple[Any, Any, Any]]] = {}
        self._single = []
        seen: set[Any] = set()  # several functions name the same global
        for container, key, value, _ in self.values:
            if isinstance(container, Length | Structure) or _is_fixed(container):
                continue
            place = identity(container, key)
            if place in seen:
                continue
            seen.add(place)
            group = by_container.setdefault(id(container), []) if type(container) in _FAST else self._single
            group.append((container, key, value))
        self._groups = []
        for entries in by_container.values():
            if len(entries) == 1:
                self._single += entries
            else:
                getter = itemgetter(*(key for _, key, _ in entries))
                self._groups.append((getter, entries[0][0], tuple(v for _, _, v in entries), entries))
        lengths = [(container.of, n) for container, _, n, _ in self.values if isinstance(container, Length)]
        self._measured = [of for of, _ in lengths], [n for _, n in lengths]
        self._structures = [(container.of, v) for container, _, v, _ in self.values
                            if isinstance(container, Structure)]
        self.tensors, self.values = [], []

    def is_certain(self) -> bool:
        """Whether nothing of it, once prepared, can change."""
        return not (self._groups or self._measured[0] or self._single or self._structures)

    def holds(self) -> bool:
        """Whether all values are what they were."""
        try:
            for getter, container, values, entries in self._groups:
                if not all(map(is_, getter(container), values)) and not _all_same(entries):
                    return False
            of, lengths = self._measured
            if list(map(len, of)) != lengths or not _all_same(self._single):
                return False
            return all(of._replay_structure() == value for of, value in self._structures)
        except (KeyError, IndexError, AttributeError, ValueError):
            return False

    def _changed(self) -> list[tuple[Any, Any, Any, str]]:
        found = []
        for entry in self.values:
            try:
                container, key, value, _ = entry
                asked = isinstance(container, Length | Structure)
                same = container[key] == value if asked else _all_same([entry[:3]])
            except (KeyError, IndexError, AttributeError, ValueError):
                same = False
            if not same:
                found.append(entry)
        return found

    def drop_changed(self, places: set[Any], owners: set[int]) -> list[str]:
        """Forget the values that are not what they were; their names. Places where tensors came or went, by
        identity, and the lengths of the containers that own them, stay as they were."""
        dropped = [e for e in self._changed() if identity(e[0], e[1]) not in places
                   and not (isinstance(e[0], Length) and isinstance(e[0].of, dict) and id(e[0].of) in owners)]
        gone = {id(entry) for entry in dropped}
        self.values = [entry for entry in self.values if id(entry) not in gone]
        return list(dict.fromkeys(name for _, _, _, name in dropped))

    def grown_lists(self) -> set[int]:
        """The lists, by id, whose length has changed."""
        lengths = [e[0] for e in self._changed() if isinstance(e[0], Length)]
        return {id(length.of) for length in lengths if isinstance(length.of, list)}


def _is_fixed(container: Any) -> bool:
    """Whether what stands in a container can never be exchanged."""
    return type(container) is tuple or (type(container) is Attributes
                                        and type(container.of) is types.MethodType)


# containers whose items `itemgetter` finds
_FAST = frozenset((dict, OrderedDict, defaultdict, list, tuple, types.MappingProxyType))


def _all_same(entries: Iterable[tuple[Any, Any, Any]]) -> bool:
    for container, key, value in entries:
        found = container[key]
        # what is printed tells 1 from 1.0 and True, 0.0 from -0.0, and finds nan equal to itself
        if found is not value and not (is_plain(found) and is_plain(value) and repr(found) == repr(value)):
            return False
    return True


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a text or the like, or a tuple of such."""
    if type(value) in (tuple, frozenset):
        return all(is_plain(v) for v in value)
    return isinstance(value, _PLAIN)


def reach(roots: Sequence[tuple[Any, Any, str]]) -> Reach:
    """Walk from places (container, key, name)."""
    found = Reach()
    seen: dict[int, Any] = {}
    members = _Members()
    todo = list(reversed(roots))
    while todo or (todo := members.released()):
        container, key, name = todo.pop()
        try:
            value = container[key]
        except (KeyError, AttributeError, ValueError):  # a name that is not set yet
            continue
        if isinstance(value, Tensor):
            found.tensors.append((container, key, value, name))
            if id(value) not in seen:
                seen[id(value)] = value
                todo.extend(_of_tensor(container, key, value, name))
            continue
        found.values.append((container, key, value, name))
        if is_plain(value) or id(value) in seen:
            continue
        seen[id(value)] = value
        members.learn(value)
        inner = [place for place in _inside(value, name) if not members.holds_back(value, place)]
        if isinstance(value, list | dict | set):
            found.values.append((Length(value), 0, len(value), name))
        elif hasattr(type(value), "_replay_structure"):
            found.values.append((Structure(value), 0, value._replay_structure(), name))
        todo.extend(reversed(inner))
    return found


# code that mentions one of these may ask for any attribute
_ASK_BY_TEXT = frozenset({"getattr", "attrgetter", "methodcaller", "vars", "__dict__", "__getattribute__",
                          "eval", "exec", "locals", "globals", "dir", "getmembers"})


_CLASS_MEMBERS = (types.MappingProxyType, ClassAttributes)


class _Members:
    """The members of users' modules and plain classes, and of their objects: only those that some code found
    so far names can matter."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._waiting: dict[str, list[tuple[Any, Any, str]]] = {}
        self._waiting_in_modules: dict[str, list[tuple[Any, Any, str]]] = {}
        self._all = False  # modules are too large to be walked whole

    def learn(self, value: Any) -> None:
        """Take the names in a function's code for named."""
        if isinstance(value, types.FunctionType) and not _is_library(value.__module__):
            names = _attributes_named(value.__code__)
            self._named |= names
            self._all = self._all or not names.isdisjoint(_ASK_BY_TEXT)

    def holds_back(self, value: Any, place: tuple[Any, Any, str]) -> bool:
        """Whether a place inside a value waits until some code names it."""
        container, key, _ = place
        if isinstance(value, types.ModuleType):
            waiting = self._waiting_in_modules
        elif self._all or type(container) not in _CLASS_MEMBERS or not _is_plain_class(
                value if isinstance(value, type) else type(value)):
            return False
        else:
            waiting = self._waiting
        if key.startswith("__") or key in self._named:
            return False
        waiting.setdefault(key, []).append(place)
        return True

    def released(self) -> list[tuple[Any, Any, str]]:
        """The places that have become named meanwhile."""
        found = []
        for waiting, whole in (self._waiting, self._all), (self._waiting_in_modules, False):
            names = [name for name in waiting if whole or name in self._named]
            found += [place for name in names for place in waiting.pop(name)]
        return found


def _is_plain_class(kind: type) -> bool:
    """Whether no library knows the class: a base class there may call methods that users' code never
    names."""
    return not any(_is_library(parent.__module__) for parent in kind.__mro__ if parent is not object)


@functools.cache
def _attributes_named(code: types.CodeType) -> frozenset[str]:
    """All names in a function's code and in that of the functions inside it."""
    names, codes = set(code.co_names), [code]
    while codes:
        inner = [c for c in codes.pop().co_consts if isinstance(c, types.CodeType)]
        names.update(*(c.co_names for c in inner))
        codes += inner
    return frozenset(names)


def _of_tensor(container: Any, key: Any, x: Tensor, name: str) -> list[tuple[Any, Any, str]]:
    if not x.requires_grad:
        return []
    own = OfArgument(container, key) if isinstance(container, Arguments) else Attributes(x)
    return [(own, "_grad", f"{name}.grad"), (own, "_hooks", name), (own, "_after_grad", name)]


def _inside(value: Any, name: str) -> Iterator[tuple[Any, Any, str]]:
    """The places directly inside a value."""
    kind = type(value)
    if hasattr(kind, "_replay_structure"):
        yield from ((container, key, f"{name}.{key}" if isinstance(key, str) else name)
                    for container, key in value._replay_places())
    elif isinstance(value, _OPAQUE):
        return
    elif isinstance(value, dict):
        if len(value) <= MOST:
            yield from ((value, key, f"{name}[{key!r}]" if isinstance(key, str) else name)
                        for key in list(value))
    elif isinstance(value, list | tuple):
        if len(value) <= MOST:
            yield from ((value, i, f"{name}[{i}]") for i in range(len(value)))
    elif isinstance(value, types.MethodType):
        own = Attributes(value)
        if _reads_first_argument(value.__func__):
            yield own, "__self__", name
        yield own, "__func__", name
    elif parts := _WRAPPERS.get(kind):
        own = Attributes(value)
        yield from ((own, part, name) for part in parts)
    elif isinstance(value, types.FunctionType):
        yield from of_function(value, name)
    elif isinstance(value, types.ModuleType):
        if not _is_library(value.__name__):
            yield from ((vars(value), key, f"{name}.{key}") for key in list(vars(value)) if key[:2] != "__")
    elif isinstance(value, type):
        yield from _of_class(value)
    elif not _is_library(kind.__module__):
        yield from _of_object(value, name)
    elif hasattr(value, "__dict__") and kind.__module__.startswith("lazygrad."):
        yield from ((vars(value), key, f"{name}.{key}") for key in list(vars(value)))


def _of_object(value: Any, name: str) -> Iterator[tuple[Any, Any, str]]:
    """The attributes of an object of a user's class, and what its methods see."""
    if isinstance(getattr(value, "__dict__", None), dict):  # which a class may answer in its own way
        yield from ((vars(value), key, f"{name}.{key}") for key in list(vars(value)))
    own = Attributes(value)
    for parent in type(value).__mro__:
        if _is_library(parent.__module__):
            continue
        slots = parent.__dict__.get("__slots__", ())
        slots = [slots] if isinstance(slots, str) else slots if isinstance(slots, list | tuple) else ()
        yield from ((own, slot, f"{name}.{slot}") for slot in slots if not slot.startswith("__"))
    yield from _of_class(type(value))


def _of_class(value: type) -> Iterator[tuple[Any, Any, str]]:
    """The members of a user's class and of its users' bases."""
    for parent in value.__mro__:
        if _is_library(parent.__module__):
            continue
        members, own = parent.__dict__, ClassAttributes(parent)
        yield from ((own if isinstance(member, Tensor) else members, key, f"{parent.__name__}.{key}")
                    for key, member in list(members.items())
                    if isinstance(member, types.FunctionType) or not key.startswith("__"))


def of_function(function: types.FunctionType, name: str) -> Iterator[tuple[Any, Any, str]]:
    """What a user's function sees beside its arguments: closure, defaults, and the globals that it names."""
    if _is_library(function.__module__):
        return
    closure = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    yield from ((Attributes(cell), "cell_contents", variable) for variable, cell in closure)
    own = Attributes(function)
    yield from ((own, part, name) for part in ("__defaults__", "__kwdefaults__") if getattr(function, part))
    named = _globals_named(function.__code__)
    space = function.__globals__
    yield from ((space, variable, variable) for variable in named
                if variable in space or not hasattr(builtins, variable))


@functools.cache
def _globals_named(code: types.CodeType) -> tuple[str, ...]:
    """The global names that a function or a function inside it reads."""
    names: dict[str, None] = {}
    codes = [code]
    while codes:
        code = codes.pop()
        names.update({i.argval: None for i in dis.get_instructions(code)
                      if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")})
        codes.extend(c for c in code.co_consts if isinstance(c, types.CodeType))
    return tuple(names)


_READS_ARGUMENTS = frozenset({"super", "locals", "vars", "dir", "eval", "exec"})  # without naming them


def _reads_first_argument(function: Any) -> bool:
    """Whether a function may look at its first argument: a method that never reads `self` sees nothing of
    it."""
    code = getattr(function, "__code__", None)
    if code is None or not code.co_argcount or not _READS_ARGUMENTS.isdisjoint(code.co_names):
        return True
    first = code.co_varnames[0]
    return first in code.co_cellvars or _is_loaded(code, first)


@functools.cache
def _is_loaded(code: types.CodeType, variable: str) -> bool:
    # newer interpreters load two variables with one instruction, whose argument is then a pair
    loaded = (i.argval for i in dis.get_instructions(code) if i.opname.startswith("LOAD_"))
    return any(variable == found or (isinstance(found, tuple) and variable in found) for found in loaded)


def _is_library(module: str | None) -> bool:
    return module is None or module.partition(".")[0] in _ROOTS and module != "__main__"


def difference(before: Iterable[tuple[Any, Any, Tensor, str]],
               after: Iterable[tuple[Any, Any, Tensor, str]]) -> tuple[list[Place], list[Place]]:
    """The places at which another tensor stands afterwards, and those of `before` without an entry after."""
    known = {identity(container, key): (container, key, tensor) for container, key, tensor, _ in before}
    changed = []
    for container, key, tensor, _ in after:
        old = known.pop(identity(container, key), None)
        if old is None or old[2] is not tensor:
            changed.append((container, key))
    return changed, [(container, key) for container, key, _ in known.values()]


def identity(container: Any, key: Any) -> tuple[int, Any]:
    """A place as a key: the same for two views of the same attributes."""
    if isinstance(container, OfArgument):
        return id(container.arguments), (container.place, key)
    owner = container.of if isinstance(container, Attributes) else container
    return id(owner), id(key) if isinstance(key, Tensor) else key
