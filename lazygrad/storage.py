"""Storages under the names of torch.storage."""

from lazygrad.tensors.storage import UntypedStorage
from lazygrad.tensors.typed_storage import LEGACY_STORAGES, TypedStorage

globals().update(LEGACY_STORAGES)
Storage = LEGACY_STORAGES["FloatStorage"]
__all__ = ["TypedStorage", "UntypedStorage"]
