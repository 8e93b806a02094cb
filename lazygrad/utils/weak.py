"""PyTorch's `utils.weak`: dictionaries and references that keep no tensor alive and tell tensors apart by
which they are, since `==` compares their elements."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any
from weakref import ReferenceType, ref

from lazygrad.tensors import Tensor


class WeakIdRef(ReferenceType):
    """A weak reference that is equal to those of the same object alone."""

    __slots__ = ("_id",)

    def __init__(self, key: Any, callback: Any = None):
        super().__init__(key, callback)  # type: ignore[call-arg]
        self._id = id(key)

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        mine, theirs = self(), other() if isinstance(other, ReferenceType) else None
        return self is other if mine is None or theirs is None else mine is theirs


class WeakIdKeyDictionary(MutableMapping[Any, Any]):
    """A dictionary whose keys are told apart by which they are; an entry goes with its key."""

    def __init__(self, dict: Any = None, ref_type: type[WeakIdRef] = WeakIdRef):  # noqa: A002
        self.data: dict[WeakIdRef, Any] = {}
        self.ref_type = ref_type
        self.update(dict or {})

    def _drop(self, gone: Any) -> None:
        self.data.pop(gone, None)

    def __getitem__(self, key: Any) -> Any:
        return self.data[self.ref_type(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.data[self.ref_type(key, self._drop)] = value

    def __delitem__(self, key: Any) -> None:
        del self.data[self.ref_type(key)]

    def __iter__(self) -> Iterator[Any]:
        return (key for r in list(self.data) if (key := r()) is not None)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, key: object) -> bool:
        try:
            return self.ref_type(key) in self.data
        except TypeError:  # what cannot be referred to weakly
            return False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"

    def keyrefs(self) -> list[WeakIdRef]:
        """The references to the keys."""
        return list(self.data)

    def copy(self) -> WeakIdKeyDictionary:
        """Another one with the same entries."""
        return WeakIdKeyDictionary(self)

    __copy__ = copy


WeakTensorKeyDictionary = WeakIdKeyDictionary


class TensorWeakRef:
    """A weak reference to a tensor. Raises AssertionError for anything else."""

    def __init__(self, tensor: Tensor):
        assert isinstance(tensor, Tensor), f"expected torch.Tensor, got {type(tensor).__name__}"
        self.ref = ref(tensor)

    def __call__(self) -> Tensor | None:
        return self.ref()
