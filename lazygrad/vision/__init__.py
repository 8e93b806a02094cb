"""Operators that torchvision has compiled for PyTorch, written with tensor operations: what stands at
`torch.ops.torchvision`. They have derivatives of their own, on every device, to any order."""

from __future__ import annotations

from lazygrad.inert.kinds import refused
from lazygrad.inert.operators import BuiltIn
from lazygrad.vision.deformable import deform_conv2d
from lazygrad.vision.region_pooling import ps_roi_pool, roi_pool
from lazygrad.vision.regions import ps_roi_align, roi_align
from lazygrad.vision.suppression import nms

_HERE = (nms, roi_align, roi_pool, ps_roi_align, ps_roi_pool, deform_conv2d)
_INSTEAD = {
    **{f"_{name}_backward": "the operator's result has a derivative: call its backward()"
       for name in "roi_align roi_pool ps_roi_align ps_roi_pool deform_conv2d".split()},
    **dict.fromkeys(("qnms", "qroi_align"), "there are no quantized tensors here: give it floats"),
    "box_iou_rotated": "rotated boxes are not intersected here: write it with tensor operations",
}
OPERATORS = {
    **{function.__name__: BuiltIn("torchvision", function) for function in _HERE},
    **{name: BuiltIn("torchvision", refused(f"ops.torchvision.{name}", instead))
       for name, instead in _INSTEAD.items()},
}
