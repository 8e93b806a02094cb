"""Storages under the names of torch.storage."""

from lazygrad.tensors.storage import TypedStorage, UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
