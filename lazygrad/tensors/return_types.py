"""The types in which functions return several tensors: named tuples that print as PyTorch's."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lazygrad import dtypes
from lazygrad.errors import ArgumentTypeError

TYPES: dict[str, type[Result]] = {}


class Result:
    """What is common to these types; made of the parts one by one, or of one sequence of them."""

    __slots__ = ()
    _fields: tuple[str, ...]
    n_unnamed_fields = 0
    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Any]: ...

    n_fields: int
    n_sequence_fields: int

    def __new__(cls, *parts: Any) -> Any:
        """Raises ArgumentTypeError for another number of parts than there are names."""
        if len(parts) == 1:
            try:
                parts = tuple(parts[0])
            except TypeError:
                raise ArgumentTypeError(f"[{cls.__name__}] constructor requires a sequence") from None
        if len(parts) != len(cls._fields):
            raise ArgumentTypeError(
                f"[{cls.__name__}] {dtypes.shown_package}.return_types.{cls.__name__}() takes a "
                f"{len(cls._fields)}-sequence ({len(parts)}-sequence given)"
            )
        return tuple.__new__(cls, parts)  # type: ignore[type-var]

    def __repr__(self) -> str:
        parts = (f"{f}={v!r}" for f, v in zip(self._fields, self, strict=True))
        return f"{dtypes.shown_package}.return_types.{type(self).__name__}(\n" + ",\n".join(parts) + ")"

    def __reduce__(self) -> Any:
        return type(self), (tuple(self),)


def return_type(name: str, *fields: str) -> Any:
    """The type of what a function returns, under PyTorch's name for it; made once."""
    if name not in TYPES:
        TYPES[name] = type(name, (Result, namedtuple(name, fields)), {  # noqa: PYI024 - by its own name
            "__slots__": (), "__doc__": f"What `{name.removeprefix('linalg_')}` returns.",
            "__module__": "lazygrad.return_types", "n_fields": len(fields), "n_sequence_fields": len(fields),
        })
    assert TYPES[name]._fields == fields, name
    return TYPES[name]


def pair_type(name: str) -> Any:
    """The type of values along a dimension and where they stand."""
    return return_type(name, "values", "indices")
