"""Which of many overlapping boxes are kept: non-maximum suppression."""

from __future__ import annotations

import lazygrad
from lazygrad.errors import ShapeError
from lazygrad.tensors import Tensor, no_grad
from lazygrad.vision.checks import of_one_type


@of_one_type(2)
@no_grad()
def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Numbers (kept,), int64, of the boxes dets (n, 4) as x1, y1, x2, y2 that are kept, best of scores (n,)
    first: a box goes if a better one that is kept overlaps it by more than iou_threshold. Reads values.
    Raises ShapeError."""
    if dets.ndim != 2 or dets.shape[1] != 4 or scores.shape != dets.shape[:1]:
        raise ShapeError(f"[nms] dets must be (n, 4) and scores (n,), got {tuple(dets.shape)} and "
                         f"{tuple(scores.shape)}")
    order = scores.sort(descending=True, stable=True).indices
    overlaps = (_overlaps(dets[order]) > iou_threshold).triu(1)  # (better, worse)
    # who is kept follows from who better is kept; each round settles at least one box more, mostly all
    kept = lazygrad.ones(len(scores), dtype=lazygrad.bool, device=dets.device)
    while True:
        now = ~(overlaps & kept[:, None]).any(0)
        if bool((now == kept).all()):
            return order[kept]
        kept = now


def _overlaps(boxes: Tensor) -> Tensor:
    """Intersection over union of each box (n, 4) with each: (n, n)."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low = lazygrad.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = lazygrad.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    sides = (high - low).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    return common / (area[:, None] + area[None] - common)
