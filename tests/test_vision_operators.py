"""The operators of torch.ops.torchvision beside plain loops over regions, boxes and windows."""

import itertools
import math

import numpy as np
import pytest

import lazygrad
from lazygrad.errors import ArgumentTypeError, DTypeError, LibraryError, ShapeError, UnsupportedError
from lazygrad.inert.tables import TABLES
from lazygrad.vision import OPERATORS

BINS = (3, 2)
REGIONS = np.array(
    [
        [0, 1.2, 0.4, 15.0, 11.3],
        [1, 3, 3, 3, 3],  # empty
        [1, -10.3, -9.7, 40.1, 38.2],  # around the image
        [0, 100, 100, 140, 140],  # outside
        [1, 5.5, 2.5, 7.5, 20.0],
        [0, 9, 9, 4, 2],  # turned round
    ]
)


def images(channels=6, dtype="float64", seed=0):
    """Two images of 7 x 9 pixels."""
    return np.random.default_rng(seed).standard_normal((2, channels, 7, 9)).astype(dtype)


def between(plane, y, x):
    """A plane (..., H, W) at a real place, as RoIAlign reads it."""
    height, width = plane.shape[-2:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(plane.shape[:-2])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    rows, columns = ((int(at), min(int(at) + 1, n - 1), at - int(at)) for at, n in ((y, height), (x, width)))
    top, bottom = (
        plane[..., row, columns[0]] * (1 - columns[2]) + plane[..., row, columns[1]] * columns[2]
        for row in rows[:2]
    )
    return top * (1 - rows[2]) + bottom * rows[2]


def aligned(image, rois, scale, ratio, offset, least, by_bin):
    """RoIAlign by loops; by_bin gives the planes that a bin reads."""
    found = []
    for region in rois:
        planes = image[int(region[0])]
        x1, y1, x2, y2 = region[1:] * scale - offset
        height, width = max(y2 - y1, least), max(x2 - x1, least)
        steps = height / BINS[0], width / BINS[1]
        counts = [ratio if ratio > 0 else math.ceil(step) for step in steps]
        cells = []
        for ph, pw in itertools.product(range(BINS[0]), range(BINS[1])):
            total = 0.0
            for iy, ix in itertools.product(range(counts[0]), range(counts[1])):
                y = y1 + (ph + (iy + 0.5) / counts[0]) * steps[0]
                x = x1 + (pw + (ix + 0.5) / counts[1]) * steps[1]
                total = total + between(by_bin(planes, ph, pw), y, x)
            shape = by_bin(planes, ph, pw).shape[0]
            cells.append(np.broadcast_to(total, shape) / max(counts[0] * counts[1], 1))
        found.append(np.stack(cells, -1).reshape(-1, *BINS))
    return np.stack(found)


def own_planes(planes, ph, pw):
    """The channels of one bin."""
    return planes.reshape(-1, *BINS, *planes.shape[1:])[:, ph, pw]


def away(x):
    """The nearest whole number, halves away from 0."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def bins_of(region, scale, more, end):
    """First and last pixels of each bin, for RoIPool."""
    x1, y1, x2, y2 = (away(v * scale) for v in region[1:])
    spans = []
    for low, high, bins, stop in ((y1, y2, BINS[0], end[0]), (x1, x2, BINS[1], end[1])):
        step = max(high - low + more, 1) / bins
        edges = [(low + math.floor(i * step), low + math.ceil((i + 1) * step)) for i in range(bins)]
        spans.append([tuple(min(max(e, 0), stop) for e in edge) for edge in edges])
    return itertools.product(*spans)


CASES = {
    "roi_align": [(scale, *BINS, ratio, offset)
                  for scale in (1.0, 0.5) for ratio in (2, 1, -1) for offset in (False, True)],
    "ps_roi_align": [(scale, *BINS, ratio) for scale in (1.0, 0.5) for ratio in (2, 1)],
    "roi_pool": [(1.0, *BINS), (0.5, *BINS)],
    "ps_roi_pool": [(1.0, *BINS), (0.5, *BINS)],
}  # fmt: skip


def by_loops(name, image, rois, scale, *rest):
    """What an operator of regions gives."""
    if name == "roi_align":
        least = -math.inf if rest[3] else 1.0
        return aligned(image, rois, scale, rest[2], 0.5 * rest[3], least, lambda planes, *at: planes)
    if name == "ps_roi_align":
        return aligned(image, rois, scale, rest[2], 0.5, -math.inf, own_planes)
    size, found = image.shape[2:], []
    for region in rois:
        planes, cells = image[int(region[0])], []
        more, end = (1, size) if name == "roi_pool" else (0, (size[0] - 1, size[1] - 1))
        for i, ((top, bottom), (left, right)) in enumerate(bins_of(region, scale, more, end)):
            own = planes if name == "roi_pool" else own_planes(planes, *divmod(i, BINS[1]))
            part = own[:, top:bottom, left:right].reshape(len(own), -1)
            fold = np.max if name == "roi_pool" else np.mean
            cells.append(fold(part, -1) if part.size else np.zeros(len(own)))
        found.append(np.stack(cells, -1).reshape(-1, *BINS))
    return np.stack(found)


def first(result):
    """The result, or the first of two."""
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize(("name", "rest"), [(n, c) for n, cases in CASES.items() for c in cases])
def test_regions(device, name, rest):
    image = images()
    x, rois = (lazygrad.tensor(a, device=device) for a in (image, REGIONS))
    got = OPERATORS[name](x, rois, *rest)
    np.testing.assert_allclose(first(got).numpy(), by_loops(name, image, REGIONS, *rest), atol=1e-12)
    if name.startswith("ps_"):
        channels = np.broadcast_to(np.arange(6).reshape(1, *BINS), (len(REGIONS), 1, *BINS))
        np.testing.assert_array_equal(got[1].numpy(), channels)
        assert got[1].dtype == lazygrad.int32


def check_gradients(function, *arrays):
    """The derivative of a weighted sum of function(*tensors), in one direction for each array, beside the
    difference that it is the limit of."""
    random = np.random.default_rng(3)
    leaves = [lazygrad.tensor(a, requires_grad=True) for a in arrays]
    result = function(*leaves)
    weights = lazygrad.tensor(random.standard_normal(result.shape))
    gradients = lazygrad.autograd.grad((result * weights).sum(), leaves)
    for i, array in enumerate(arrays):
        way = random.standard_normal(array.shape) * 1e-6
        ends = []
        for moved in (array + way, array - way):
            given = [lazygrad.tensor(a) for a in arrays]
            given[i] = lazygrad.tensor(moved)
            ends.append((function(*given) * weights).sum().item())
        got, want = (gradients[i].numpy() * way).sum(), (ends[0] - ends[1]) / 2
        assert got == pytest.approx(want, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_regions(name):
    rois = lazygrad.tensor(REGIONS, requires_grad=True)
    check_gradients(lambda x: first(OPERATORS[name](x, rois.detach(), *CASES[name][-1])), images())
    assert not first(OPERATORS[name](lazygrad.tensor(images()), rois, *CASES[name][-1])).requires_grad


def test_places_follow_from_the_size_of_a_region():
    """A ratio that is not positive: as many places as a bin covers pixels, different for each region."""
    image, rois = images(), REGIONS[[0, 4]]
    got = OPERATORS["ps_roi_align"](lazygrad.tensor(image), lazygrad.tensor(rois), 1.0, *BINS, 0)[0]
    np.testing.assert_allclose(got.numpy(), by_loops("ps_roi_align", image, rois, 1.0, *BINS, 0), atol=1e-12)
    empty = OPERATORS["ps_roi_align"](lazygrad.tensor(image), lazygrad.tensor(REGIONS[[1]]), 1.0, *BINS, 0)
    assert empty[0].isnan().all()  # a mean of no places


def test_which_pixel_roi_pool_takes():
    image = images()
    image[0, 0] = np.nan
    image[1, 1] = -np.inf
    x = lazygrad.tensor(image, requires_grad=True)
    pooled, address = OPERATORS["roi_pool"](x, lazygrad.tensor(REGIONS), 0.5, *BINS)
    assert address.dtype == lazygrad.int32
    flat, pooled_values = image.reshape(2, 6, -1), pooled.detach().numpy()
    least = np.finfo("float32").min
    for (k, c, i, j), at in np.ndenumerate(address.numpy()):
        value = pooled_values[k, c, i, j]
        if at < 0:
            assert value in (0, least)
        else:
            assert value == flat[int(REGIONS[k, 0]), c, at]
    assert (address.numpy()[[0, 5], 0] == -1).all() and (pooled_values[0, 0] == least).all()
    pooled.sum().backward()
    assert x.grad.sum().item() == (address >= 0).sum().item()


@pytest.mark.parametrize("name", CASES)
def test_no_regions_and_no_channels(name):
    for channels, rois in ((6, REGIONS[:0]), (0, REGIONS)):
        x = lazygrad.tensor(images(channels))
        got = first(OPERATORS[name](x, lazygrad.tensor(rois), *CASES[name][0]))
        out = channels // 6 if name.startswith("ps_") else channels
        assert got.shape == (len(rois), out, *BINS) and got.numpy().size == 0


def boxes(n, seed=1):
    """Boxes (n, 4) that overlap much, and scores of which many are equal."""
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, 20, (n, 2)), random.uniform(0, 15, (n, 2))
    return np.concatenate([corner, corner + size], 1), np.round(random.uniform(0, 1, n), 1)


def kept_by_loops(found, scores, limit):
    """The boxes that are kept, best first."""
    area = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        for j in kept:
            sides = np.minimum(found[i, 2:], found[j, 2:]) - np.maximum(found[i, :2], found[j, :2])
            common = np.prod(np.maximum(sides, 0))
            if common / (area[i] + area[j] - common) > limit:
                break
        else:
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("n", [0, 1, 2, 7, 150])
def test_boxes_that_are_kept(device, n):
    found, scores = boxes(n)
    for limit in (0.0, 0.3, 0.7, 1.0):
        got = OPERATORS["nms"](*(lazygrad.tensor(a, device=device) for a in (found, scores)), limit)
        assert got.dtype == lazygrad.int64 and got.tolist() == kept_by_loops(found, scores, limit)


def test_a_chain_of_boxes_each_of_which_decides_the_next():
    """Every second one is kept, which follows one after the other."""
    low = np.arange(60.0)
    found = np.stack([low, np.zeros(60), low + 2, np.ones(60)], 1)
    got = OPERATORS["nms"](lazygrad.tensor(found), lazygrad.tensor(-low), 0.2)
    assert got.tolist() == list(range(0, 60, 2))


def test_boxes_without_area_stay():
    """0 / 0 is no overlap."""
    found = lazygrad.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1]])
    assert OPERATORS["nms"](found, lazygrad.tensor([0.5, 0.6]), 0.1).tolist() == [1, 0]


DEFORMED = [
    # channels, out, window, stride, padding, dilation, groups, groups of offsets, mask
    (4, 3, (3, 2), (1, 1), (1, 0), (1, 1), 1, 1, True),
    (4, 2, (2, 3), (2, 1), (2, 1), (1, 2), 2, 4, False),
    (4, 2, (1, 1), (1, 2), (0, 0), (1, 1), 2, 2, True),
]


def deformed_inputs(channels, out, window, stride, padding, dilation, groups, offset_groups, masked):
    """Arguments of a deformable convolution."""
    random = np.random.default_rng(2)
    sizes = [
        (n + 2 * p - (d * (w - 1) + 1)) // s + 1
        for n, p, d, w, s in zip((5, 6), padding, dilation, window, stride, strict=True)
    ]
    taps = offset_groups * window[0] * window[1]
    shapes = [(2, channels, 5, 6), (out, channels // groups, *window), (2, 2 * taps, *sizes),
              (2, taps, *sizes) if masked else (2, 1), (out,)]  # fmt: skip
    arrays = [random.standard_normal(shape) for shape in shapes]
    arrays[2] *= 1.7
    return arrays, (*stride, *padding, *dilation, groups, offset_groups, masked)


def deformed_by_loops(x, weight, offset, mask, bias, sh, sw, ph, pw, dh, dw, groups, offset_groups, masked):
    """Deformable convolution, number by number."""
    n, channels, height, width = x.shape
    out, own, kh, kw = weight.shape
    edged = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    result = np.zeros((n, out, *offset.shape[2:])) + bias[:, None, None]
    for b, c, i, j, *at in np.ndindex(n, channels, kh, kw, *offset.shape[2:]):
        tap = (c * offset_groups // channels) * kh * kw + i * kw + j
        y = at[0] * sh - ph + i * dh + offset[b, 2 * tap, at[0], at[1]]
        z = at[1] * sw - pw + j * dw + offset[b, 2 * tap + 1, at[0], at[1]]
        if not (-1 < y < height and -1 < z < width):
            continue
        row, column = math.floor(y), math.floor(z)
        part = edged[b, c, row + 1 : row + 3, column + 1 : column + 3]
        value = [1 - (y - row), y - row] @ part @ [1 - (z - column), z - column]
        value *= mask[b, tap, at[0], at[1]] if masked else 1
        group = c * groups // channels
        for o in range(group * out // groups, (group + 1) * out // groups):
            result[b, o, at[0], at[1]] += weight[o, c % own, i, j] * value
    return result


@pytest.mark.parametrize("case", DEFORMED)
def test_deformable_convolution(device, case):
    arrays, rest = deformed_inputs(*case)
    got = OPERATORS["deform_conv2d"](*(lazygrad.tensor(a, device=device) for a in arrays), *rest)
    np.testing.assert_allclose(got.numpy(), deformed_by_loops(*arrays, *rest), atol=1e-12)


@pytest.mark.parametrize("case", DEFORMED)
def test_gradients_of_deformable_convolution(case):
    arrays, rest = deformed_inputs(*case)
    *used, mask, bias = arrays

    def run(x, weight, offset, bias, mask=None):
        mask = lazygrad.tensor(arrays[3]) if mask is None else mask
        return OPERATORS["deform_conv2d"](x, weight, offset, mask, bias, *rest)

    check_gradients(run, *used, bias, *([mask] if case[-1] else []))


def test_offsets_of_zero_are_a_convolution():
    (x, weight, offset, _, bias), rest = deformed_inputs(*DEFORMED[0])
    ones = np.ones((2, 6, *offset.shape[2:]))
    x, weight, bias = (lazygrad.tensor(a) for a in (x, weight, bias))
    got = OPERATORS["deform_conv2d"](
        x, weight, lazygrad.zeros(offset.shape, dtype=x.dtype), lazygrad.tensor(ones), bias, *rest
    )
    want = lazygrad.nn.functional.conv2d(x, weight, bias, padding=(1, 0))
    np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-12)


def test_types():
    x, rois = images(dtype="float32"), REGIONS.astype("float32")
    want = OPERATORS["roi_align"](lazygrad.tensor(x), lazygrad.tensor(rois), 0.5, *BINS, 2, True)
    for dtype, limit in ((lazygrad.float16, 1e-2), (lazygrad.bfloat16, 1e-1)):
        low = lazygrad.tensor(x).to(dtype)
        got = OPERATORS["roi_align"](low, lazygrad.tensor(rois).to(dtype), 0.5, *BINS, 2, True)
        assert got.dtype == dtype
        with lazygrad.autocast("cpu", dtype=dtype):
            mixed = OPERATORS["roi_align"](low, lazygrad.tensor(rois), 0.5, *BINS, 2, True)
        assert mixed.dtype == dtype
        np.testing.assert_allclose(mixed.float().numpy(), want.numpy(), atol=limit)


WRONG = {
    "one type": ("roi_align", (images(), REGIONS.astype("float32"), 1.0, 2, 2, 2, True), DTypeError),
    "floats": ("nms", (np.ones((2, 4), "int64"), np.ones(2, "int64"), 0.5), DTypeError),
    "tensors": ("nms", ([[1.0]], [2.0], 0.5), ArgumentTypeError),
    "boxes": ("nms", (np.ones((2, 5)), np.ones(2), 0.5), ShapeError),
    "scores": ("nms", (np.ones((2, 4)), np.ones(3), 0.5), ShapeError),
    "regions": ("roi_pool", (images(), REGIONS[:, :4], 1.0, 2, 2), ShapeError),
    "images": ("roi_pool", (images()[0], REGIONS, 1.0, 2, 2), ShapeError),
    "no image": ("roi_pool", (images()[:0], REGIONS, 1.0, 2, 2), ShapeError),
    "no bins": ("roi_pool", (images(), REGIONS, 1.0, 0, 2), ShapeError),
    "channels": ("ps_roi_pool", (images(5), REGIONS, 1.0, 2, 2), ShapeError),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes(case):
    name, given, error = WRONG[case]
    given = [lazygrad.tensor(a) if isinstance(a, np.ndarray) else a for a in given]
    with pytest.raises(error, match=rf"\[{name}\]"):
        OPERATORS[name](*given)


@pytest.mark.parametrize("place", range(5))
def test_shapes_that_do_not_fit_a_deformable_convolution(place):
    arrays, rest = deformed_inputs(*DEFORMED[0])
    arrays[place] = arrays[place][..., :-1] if place else arrays[place][:, :-1]
    with pytest.raises(ShapeError, match=r"\[deform_conv2d\]"):
        OPERATORS["deform_conv2d"](*(lazygrad.tensor(a) for a in arrays), *rest)


def test_as_torchvision_uses_them():
    """It loads its library, then registers derivatives, casts and shapes for its operators."""
    load = TABLES["lazygrad.torch_ops"]["load_library"]
    load("/site-packages/torchvision/_C_stable.so")
    for other in ("/site-packages/torchvision/image_stable.so", "/elsewhere/_C.so", "mine.so"):
        with pytest.raises(LibraryError, match="compiled for PyTorch"):
            load(other)
    nms = OPERATORS["nms"]
    assert nms.default is nms and str(nms) == "torchvision.nms"
    lazygrad.library.register_autograd("torchvision::roi_align", None, setup_context=None)
    lazygrad.library.register_autograd("torchvision::_roi_align_backward", None)
    for key in ("AutocastCPU", "Meta", "CPU"):
        lazygrad.library.Library("torchvision", "IMPL").impl("nms", None, key)
    assert lazygrad.torch_ops.torchvision.nms is nms
    with pytest.raises(UnsupportedError, match="quantized"):
        lazygrad.torch_ops.torchvision.qnms(None, None, 0.5)
    with pytest.raises(UnsupportedError, match="backward"):
        lazygrad.torch_ops.torchvision._roi_align_backward.default()
