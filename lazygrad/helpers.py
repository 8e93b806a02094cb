"""Small functions that several floors need and that know nothing of tensors."""

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Generic, TypeVar, get_type_hints
from weakref import ref

Member = TypeVar("Member")


def named_in(module: str, functions: Mapping[str, Any], owner: str = "") -> None:
    """Let pickles find functions under their names in a module, or in a class there."""
    for name, function in functions.items():
        function.__module__, function.__qualname__ = module, f"{owner}.{name}" if owner else name


def product(sizes: Iterable[int]) -> int:
    """The product of sizes; 1 for none."""
    result = 1
    for size in sizes:
        result *= size
    return result


def ceil_div(a: int, b: int) -> int:
    """The quotient rounded up, for positive b."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """The least multiple of `multiple` that is not below a."""
    return ceil_div(a, multiple) * multiple


def row_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements between neighbours along each axis of a contiguous row-major array."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def inverse_permutation(order: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `order`."""
    inverse = [0] * len(order)
    for position, axis in enumerate(order):
        inverse[axis] = position
    return tuple(inverse)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No cycle collection while a block makes many nodes, which form no cycles: it would double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Living(Generic[Member]):
    """A set of objects without an equality of their own that keeps none of them alive: a WeakSet at a third
    of its costs."""

    def __init__(self) -> None:
        self._members: set[ref[Member]] = set()
        # a reference calls the second when its object dies; constructors call both themselves
        self.enter, self.leave = self._members.add, self._members.discard

    def add(self, member: Member) -> None:
        """Let an object belong to the set while it lives."""
        self.enter(ref(member, self.leave))

    def discard(self, member: Member) -> None:
        """Let an object belong to the set no more."""
        self._members.discard(ref(member))

    def __iter__(self) -> Iterator[Member]:
        return iter([found for member in list(self._members) if (found := member()) is not None])

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: Member) -> bool:
        return ref(member) in self._members


def evaluate_annotations(kinds: Iterable[type]) -> None:
    """Make the annotations of classes, and of lazygrad's classes that they are made of, types instead of
    text: programs read them off instances, where the names in the text mean nothing."""
    bases = {base for kind in kinds for base in kind.__mro__}
    for kind in (base for base in bases if base.__module__.startswith("lazygrad")):
        own = vars(kind).get("__annotations__", {})
        if any(isinstance(value, str) for value in own.values()):
            types = get_type_hints(kind, include_extras=True)
            kind.__annotations__ = {name: types[name] for name in own}


def add_paths(package: str, paths: Mapping[str, Sequence[ModuleType]]) -> None:
    """Modules below `package` under PyTorch's paths: each has the names of the files that hold them here."""
    for path, files in paths.items():
        made = ModuleType(f"{package}.{path}", files[0].__doc__)
        for file in files:
            own = {name: value for name, value in vars(file).items() if not name.startswith("__")}
            vars(made).update(own)
        sys.modules[made.__name__] = made
        setattr(sys.modules[package], path, made)
