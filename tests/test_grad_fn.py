"""`grad_fn`: names and neighbours as PyTorch's, and how non-leaves print."""

import gc
import time
import weakref

import pytest

import lazygrad

CASES = """
x + 1; x - y; 1 - x; x * 2; x / y; x ** 2; x ** y; 2 ** x; -x; abs(x); x @ y; x @ y[0]; x[0] @ y[0]; x.exp()
x.log1p(); x.relu(); x.sigmoid(); x.tanh(); x.clamp(0, 1); T.where(x > 0, x, y); T.maximum(x, y); x.sum()
x.sum(0); x.mean(); x.mean(1); x.prod(); x.max(); x.max(0)[0]; x.amax(0); x.var(); x.std(0); x.norm()
x.softmax(0); x.log_softmax(0); T.cumsum(x, 0); T.logsumexp(x, 0); x.nansum(); x.masked_fill(x > 0, 0.0)
x.view(-1); x.reshape(-1); x.t().reshape(-1); x.t(); x.T; x.mT; x.transpose(0, 1); x.permute(1, 0)
x.flatten(); x.squeeze(); x.squeeze(0); x.unsqueeze(0); x.expand(2, 3, 3); x.narrow(0, 0, 1); x.select(0, 1)
x.unfold(0, 2, 1); x[0]; x[1:]; x[:, 1]; x[None]; x[...]; x[[0, 1]]; x[x > 0]; x.unbind()[0]; x.split(2)[0]
x.diagonal(); x.clone(); x.t().contiguous(); x.as_strided((2,), (1,)); T.cat([x, y]); T.stack([x, y])
x.repeat(2, 1); x.flip(0); x.gather(0, i); x.scatter_add(0, i, y); x.index_select(0, i[0]); x.sort()[0]
x.topk(2)[0]; x.tril(); T.addmm(x, x, y); T.bmm(x[None], y[None]); F.linear(x, y); F.linear(x, y, y[0])
F.linear(x[None], y, y[0]); F.mse_loss(x, y); F.smooth_l1_loss(x, y); F.cross_entropy(x, i[0])
F.nll_loss(x, i[0]); F.layer_norm(x, (3,)); F.binary_cross_entropy_with_logits(x, y)
F.batch_norm(x, None, None, None, None, True); F.group_norm(g, 1); F.conv2d(g, k); F.conv_transpose2d(g, k)
F.max_pool2d(g, 2); F.avg_pool2d(g, 2); F.embedding(i, x); F.pad(x, (1, 1))
F.interpolate(g, scale_factor=2); F.unfold(g, 2); a.add_(1); a.mul_(y); a.relu_(); a.zero_(); a.copy_(y)
a.masked_fill_(a > 0, 0.0); put(a, 0, y[0]); put(a, 0, 1.0); put(a, a > 0, 0.0); put(a, [0, 1], y[:2])
a[:, 1].mul_(2); also(a[:, 1].mul_(2), a); x.detach(); sum([x, y]); (x > 0)
"""
# whose values are not printed too, which would take a kernel each
NAMED = """
F.hardtanh(x); F.relu6(x); F.hardsigmoid(x); F.hardswish(x); F.threshold(x, 0.1, 0.0); F.leaky_relu(x)
F.prelu(x, y[0, :1]); F.rrelu(x); F.rrelu(x, training=True); F.elu(x); F.selu(x); F.celu(x); F.gelu(x)
F.gelu(x, approximate="tanh"); F.silu(x); F.softplus(x); F.mish(x); F.logsigmoid(x); F.softsign(x)
F.tanhshrink(x); F.hardshrink(x); F.softshrink(x); F.glu(x[:, :2]); F.softmax(x, 1); F.softmin(x, 1)
F.log_softmax(x, 1); F.normalize(x); F.relu(a, True); F.hardtanh(a, -1, 1, True); F.relu6(a, True)
F.hardsigmoid(a, True); F.hardswish(a, True); F.threshold(a, 0.1, 0.0, True); F.leaky_relu(a, 0.1, True)
F.rrelu(a, inplace=True); F.elu(a, 1.0, True); F.selu(a, True); F.celu(a, 1.0, True); F.silu(a, True)
F.mish(a, True); F.l1_loss(x, y); F.huber_loss(x, y); F.kl_div(x, y, reduction="sum")
F.poisson_nll_loss(x, y); F.cross_entropy(x, i[0], label_smoothing=0.1); F.cross_entropy(x, y)
F.cross_entropy(x, y, reduction="sum")
F.cross_entropy(g[0], i[:1, :1].expand(1, 4)); F.nll_loss(g, i[:1, :1, None].expand(1, 4, 4) * 0)
F.cross_entropy(x[..., None], i[0][:, None], reduction="none"); F.soft_margin_loss(x, y.detach())
F.hinge_embedding_loss(x, y); F.multi_margin_loss(x, i[0]); F.multilabel_margin_loss(x, i)
F.instance_norm(g); F.rms_norm(x, (3,)); F.linear(x[0], y); F.bilinear(x, y, x[None].expand(2, 3, 3))
F.conv1d(x[None], y[None]); F.conv3d(g[None], k[None]); F.conv2d(g[0], k); F.conv_transpose2d(g[0], k)
F.conv_transpose3d(g[None], k[None]); F.max_pool1d(x, 2); F.avg_pool1d(x, 2); F.adaptive_avg_pool1d(x, 2)
F.adaptive_max_pool1d(x, 2); F.adaptive_avg_pool2d(g, 2); F.adaptive_max_pool2d(g, 2); F.lp_pool2d(g, 2, 2)
F.pairwise_distance(x, y); F.cosine_similarity(x, y); F.pdist(x); F.pad(x, (1, 1), "reflect")
F.pad(g, (1, 1, 1, 1), "replicate"); F.pad(x, (1, 1), "circular"); F.normalize(x[0], dim=0)
F.grid_sample(g, g.reshape(1, 2, 4, 2), align_corners=False)
F.affine_grid(x[None, :2], (1, 1, 2, 2), False); F.dropout(x)
F.fold(x.reshape(1, 1, 9).expand(1, 4, 9), (4, 4), 2)
x ** 0.5; x ** -1; x.pow(-0.5); x.lerp(y, 0.3); x.lerp(y, y); x.clamp_min(0); x.clamp_max(y); x.frac()
x.roll(1); x.roll(1, 0); x.median(); x.median(0)[0]; x.nanmedian(0)[0]; x.scatter(0, i, y)
x.scatter(0, i, 1.0); T.div(x, y, rounding_mode="floor"); T.kron(x, y); T.tensordot(x, y, 1)
"""


def put(a, index, value):
    a[index] = value
    return a


def results(library, cases=CASES):
    names = {"T": library, "F": library.nn.functional, "put": put, "also": lambda _, a: a}
    for case in (c.strip() for line in cases.strip().splitlines() for c in line.split(";")):
        x, y = ((library.arange(9.0).reshape(3, 3) / n + 0.1).requires_grad_() for n in (5, 7))
        g, k = library.ones(1, 1, 4, 4, requires_grad=True), library.ones(1, 1, 2, 2, requires_grad=True)
        i = library.tensor([[0, 1, 2]] * 3)
        yield case, eval(case, names | {"x": x, "y": y, "g": g, "k": k, "i": i, "a": x * 1})


def test_operations_are_named_as_by_torch() -> None:
    torch = pytest.importorskip("torch")
    cases = CASES + NAMED.lstrip()
    for (case, theirs), (_, ours) in zip(results(torch, cases), results(lazygrad, cases), strict=True):
        got, want = (None if r.grad_fn is None else type(r.grad_fn).__name__ for r in (ours, theirs))
        assert got == want, case


def test_non_leaves_print_their_operation() -> None:
    x = lazygrad.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 4.], grad_fn=<MulBackward0>)"
    assert repr((x * 2).sum()) == "tensor(6., grad_fn=<SumBackward0>)"
    assert repr((x * 2).detach()) == "tensor([2., 4.])"
    assert repr((x * 2).double()) == "tensor([2., 4.], dtype=lazygrad.float64, grad_fn=<ToCopyBackward0>)"
    with lazygrad.no_grad():
        assert repr(x * 2) == "tensor([2., 4.])"
    torch = pytest.importorskip("torch")
    for (case, theirs), (_, ours) in zip(results(torch), results(lazygrad), strict=True):
        # values may differ in their last digits, and what is behind them by a line break
        got, want = (" ".join(repr(r).rpartition("]")[2].split()) for r in (ours, theirs))
        assert got.replace("lazygrad.", "torch.") == want, case


def test_next_functions_lead_to_the_leaves() -> None:
    x, w = lazygrad.ones(2, requires_grad=True), lazygrad.ones(2, requires_grad=True)
    y = x * w
    z = (y + lazygrad.ones(2)).sum()
    assert z.grad_fn is z.grad_fn and repr(z.grad_fn).startswith("<SumBackward0 object at 0x")
    ((plus, place),) = z.grad_fn.next_functions
    assert (plus.name(), place) == ("AddBackward0", 0)
    assert plus.next_functions == ((y.grad_fn, 0), (None, 0))
    leaves = [leaf for leaf, _ in y.grad_fn.next_functions]
    assert [leaf.name() for leaf in leaves] == ["torch::autograd::AccumulateGrad"] * 2
    assert leaves[0].variable is x and leaves[1].variable is w
    assert [leaf for leaf, _ in y.grad_fn.next_functions] == leaves


def test_a_write_changes_what_made_a_tensor() -> None:
    x = lazygrad.ones(3, requires_grad=True)
    y = lazygrad.zeros(3)
    assert y.grad_fn is None
    y[1] = x.sum()
    assert y.grad_fn.name() == "CopySlices"
    assert y.detach_().grad_fn is None
    y.requires_grad_()
    assert y.is_leaf and y.grad_fn is None


def test_records_keep_no_values_alive() -> None:
    x = lazygrad.ones(3, requires_grad=True)
    y = x * 2
    z = y.exp()
    z.sum().backward()
    cell = weakref.ref(y.cell)
    leaf = weakref.ref(x)
    del x, y
    gc.collect()
    assert cell() is None and leaf() is None
    mul, _ = z.grad_fn.next_functions[0]
    assert mul.name() == "MulBackward0" and mul.next_functions == ((None, 0),)


def test_long_chains_come_and_go() -> None:
    x = start = lazygrad.ones(1, requires_grad=True)
    for _ in range(20_000):
        x = x * 1.5
    step, length = x.grad_fn, 0
    while step.name() == "MulBackward0":
        step, length = step.next_functions[0][0], length + 1
    assert length == 20_000 and step.variable is start
    began = time.perf_counter()
    del x
    gc.collect()
    assert time.perf_counter() - began < 20
