"""DLPack under the names of torch.utils.dlpack: tensors as capsules, and back, over the same memory."""

from lazygrad.tensors.exchange import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
