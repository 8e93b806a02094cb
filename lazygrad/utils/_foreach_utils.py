"""PyTorch's `utils._foreach_utils`: lists of tensors sorted by what can be worked on together."""

from __future__ import annotations

from typing import Any

from lazygrad.tensors import Tensor, device

Groups = dict[tuple[Any, Any], tuple[list[list[Tensor | None]], list[int]]]


def _group_tensors_by_device_and_dtype(
    tensorlistlist: list[list[Tensor | None]], with_indices: bool = False
) -> Groups:
    """For each device and dtype among the first list's tensors: what every list has at their places, and,
    `with_indices`, the places."""
    groups: Groups = {}
    for place, x in enumerate(tensorlistlist[0]):
        assert x is not None, "the first list has a tensor at every place"
        lists, places = groups.setdefault((x.device, x.dtype), ([[] for _ in tensorlistlist], []))
        for part, whole in zip(lists, tensorlistlist, strict=True):
            if whole:  # a list may be empty: of states that an optimizer does not keep
                part.append(whole[place])
        if with_indices:
            places.append(place)
    return groups


def _get_foreach_kernels_supported_devices() -> list[str]:
    """Kinds of devices whose tensors an optimizer would take together without being asked."""
    return ["cuda", "xpu", "mtia", "privateuseone"]


def _get_fused_kernels_supported_devices() -> list[str]:
    """Kinds of devices that have steps of optimizers in one kernel: all steps are here."""
    return ["mps", "cuda", "xpu", "hpu", "cpu", "mtia", "privateuseone"]


def _device_has_foreach_support(device: device) -> bool:
    """Whether lists of tensors of a device are worked on together: of all."""
    return True


def _has_foreach_support(tensors: list[Tensor], device: device) -> bool:
    """Whether these tensors are worked on together: all are."""
    return True
