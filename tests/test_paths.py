"""PyTorch's paths and small names: modules that stand elsewhere here, and what few programs call, beside
PyTorch's."""

import gc
import importlib
import warnings
from collections import namedtuple

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad
from lazygrad.inert.paths import PATHS
from lazygrad.torch_name import our_name

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize("path", sorted(PATHS))
def test_paths_lead_to_the_same_objects(path):
    module = importlib.import_module(f"lazygrad.{path}")
    with pytest.raises(AttributeError, match=f"lazygrad lacks torch.{path}.surely_not"):
        module.surely_not  # noqa: B018
    pytorch()
    try:
        theirs = importlib.import_module(f"torch.{path}")
    except ImportError as problem:  # an object that is no module
        if not str(problem.name).startswith("torch"):
            pytest.skip(f"PyTorch's needs {problem.name}")
        theirs = importlib.import_module("torch._C")
        theirs = getattr(theirs, path.rpartition(".")[2])
    public = [n for n in getattr(theirs, "__all__", None) or dir(theirs) if n[0] != "_" and n != "vf"]
    assert not public or any(hasattr(module, n) for n in public)


def test_every_file_says_what_it_lacks():
    for name in ("random", "accelerator", "nn.utils.rnn", "optim.lr_scheduler", "utils.checkpoint", "func"):
        module = importlib.import_module(f"lazygrad.{name}")
        with pytest.raises(AttributeError, match=f"lazygrad lacks torch.{name}.surely_not"):
            module.surely_not  # noqa: B018
    with pytest.raises(ImportError):
        importlib.import_module(our_name("torch.nn.surely_not"))


@pytest.mark.parametrize("sizes", [(3, 5), (4, 4), (5, 3)])
def test_causal_masks_of_attention(sizes):
    found = []
    q, k, v = (np.random.default_rng(n).standard_normal((2, size, 4)) for n, size in
               enumerate((sizes[0], sizes[1], sizes[1])))
    for m in (lazygrad, pytorch()):
        bias = importlib.import_module(f"{m.__name__}.nn.attention.bias")
        masks = [bias.causal_upper_left(*sizes)]
        if sizes[0] <= sizes[1]:
            masks.append(bias.causal_lower_right(*sizes))
        x = [m.tensor(a, requires_grad=True) for a in (q, k, v)]
        out = [m.nn.functional.scaled_dot_product_attention(*x, attn_mask=mask) for mask in masks]
        sum((o * o).sum() for o in out).backward()
        whole = [mask._materialize() for mask in masks]
        found.append([o.detach() for o in out] + [t.grad for t in x] + whole)
        assert all(isinstance(mask, bias.CausalBias) and mask.seq_len_q == sizes[0] for mask in masks)
    check(*found)


def test_pieces_of_inputs():
    x = lazygrad.arange(10.0).reshape(5, 2)
    parallel = lazygrad.nn.parallel
    parts = parallel.scatter({"a": x, "b": [x, 3], "c": Point(x, None)}, [0, 1])
    assert [p["a"].shape[0] for p in parts] == [3, 2] and parts[1]["b"][1] == 3
    assert isinstance(parts[0]["c"], Point) and parts[1]["c"].x.tolist() == x[3:].tolist()
    joined = parallel.gather([{"a": p["a"], "c": (p["a"][0, 0],)} for p in parts], 0)
    assert joined["a"].tolist() == x.tolist() and joined["c"][0].tolist() == [0.0, 6.0]
    layer = lazygrad.nn.Linear(2, 3)
    outputs = parallel.parallel_apply(parallel.replicate(layer, [0, 1]), [p["a"] for p in parts])
    check(parallel.gather(outputs, 0), layer(x))
    from lazygrad.nn.parallel.scatter_gather import scatter_kwargs

    args, named = scatter_kwargs((x,), {"k": x[:2]}, [0, 1, 2])
    assert len(args) == len(named) == 3 and named[2] == {} and args[2][0].shape == (1, 2)


def weak_tables(m):
    weak = importlib.import_module(f"{m.__name__}.utils.weak")
    a, b = m.ones(2), m.ones(2)
    table = weak.WeakTensorKeyDictionary({a: 1})
    table[b] = 2
    seen = [table[a], table[b], len(table), a in table, m.ones(2) in table, 3 in table, table.get(b, 5)]
    one = weak.TensorWeakRef(a)
    seen += [one() is a, weak.WeakIdRef(a) == weak.WeakIdRef(a), weak.WeakIdRef(a) == weak.WeakIdRef(b)]
    del table[a], b
    gc.collect()
    return [*seen, len(table), list(table), a in table]


def selective_checkpoint(m):
    ck = m.utils.checkpoint
    x = m.ones(3, requires_grad=True)

    def policy(ctx, op, *args, **kwargs):
        return ck.CheckpointPolicy.PREFER_RECOMPUTE

    y = ck.checkpoint(lambda t: (t * 2).sin().sum(), x, use_reentrant=False,
                      context_fn=lambda: ck.create_selective_checkpoint_contexts(policy))
    y.backward()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ck.check_backward_validity([m.ones(1)])
    detached = ck.detach_variable((x, 3))
    return [round(v, 5) for v in x.grad.tolist()], len(said), detached[0].requires_grad, detached[1]


def pipes(m):
    data = importlib.import_module(f"{m.__name__}.utils.data")

    @data.functional_datapipe(f"doubled_by_{m.__name__}")
    class Doubled(data.IterDataPipe):
        def __init__(self, source):
            self.source = source

        def __iter__(self):
            return (2 * x for x in self.source)

    class Numbers(data.IterDataPipe):
        def __iter__(self):
            return iter(range(5))

    pipe = getattr(Numbers(), f"doubled_by_{m.__name__}")()
    return list(pipe), hasattr(pipe, "surely_not"), isinstance(pipe, data.IterableDataset)


def hooks_of_all_optimizers(m):
    optimizer = importlib.import_module(f"{m.__name__}.optim.optimizer")
    seen = []
    handles = [optimizer.register_optimizer_step_pre_hook(lambda o, a, k: seen.append("before all")),
               optimizer.register_optimizer_step_post_hook(lambda o, a, k: seen.append("after all"))]
    w = m.ones(2, requires_grad=True)
    one = m.optim.SGD([w], 0.1)
    one.register_step_pre_hook(lambda o, a, k: seen.append("before"))
    one.register_step_post_hook(lambda o, a, k: seen.append("after"))
    w.sum().backward()
    one.step()
    for handle in handles:
        handle.remove()
    one.step()
    return seen


def batch_norms_without_statistics(m):
    net = m.nn.Sequential(m.nn.BatchNorm1d(2), m.nn.Sequential(m.nn.BatchNorm2d(3), m.nn.LayerNorm(2)))
    same = m.func.replace_all_batch_norm_modules_(net) is net
    return same, [k for k, _ in net.named_buffers()], net[0].running_mean, net[1][0].track_running_stats


def swapped(m):
    a, b = m.nn.Parameter(m.zeros(2)), m.ones(3, dtype=m.float64)
    holder = [a]
    m.utils.swap_tensors(a, b)
    (b.sum() * 2).backward()
    return holder[0].tolist(), type(a) is m.Tensor, isinstance(b, m.nn.Parameter), b.grad.tolist()


def tracked_modules(m):
    tracker = importlib.import_module(f"{m.__name__}.utils.module_tracker").ModuleTracker()
    seen = []

    class Inner(m.nn.Module):
        def forward(self, x):
            seen.append(sorted(tracker.parents))
            y = x * 2
            y.register_hook(lambda g: seen.append((sorted(tracker.parents), tracker.is_bw)))
            return y + 1

    net = m.nn.Sequential(m.nn.Identity(), Inner())
    with tracker:
        net(m.ones(2, requires_grad=True)).sum().backward()
    return seen, sorted(tracker.parents), tracker.is_bw


PROGRAMS = (
    weak_tables, selective_checkpoint, pipes, hooks_of_all_optimizers, batch_norms_without_statistics,
    swapped, tracked_modules,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_programs(program):
    assert program(lazygrad) == program(pytorch())
