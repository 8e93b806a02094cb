"""The signatures of PyTorch's public names that are written in Python, beside ours: names, order, kinds and
defaults of all arguments."""

from __future__ import annotations

import importlib
import inspect
import types
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import lazygrad

torch = pytest.importorskip("torch")

SPACES = """
    torch torch.Tensor torch.nn torch.nn.functional torch.nn.init torch.nn.utils torch.nn.utils.rnn
    torch.nn.utils.prune torch.nn.utils.parametrize torch.nn.utils.parametrizations torch.nn.parameter
    torch.nn.parallel torch.optim torch.optim.lr_scheduler torch.optim.swa_utils torch.distributions
    torch.distributions.constraints torch.distributions.transforms torch.distributions.kl torch.utils.data
    torch.utils.checkpoint torch.linalg torch.special torch.fft torch.autograd torch.autograd.functional
    torch.autograd.graph torch.func torch.testing torch.amp torch.cuda.amp torch.random torch.hub
    torch.signal.windows
""".split()
# what differs on purpose
REASONS = {
    "says more: PyTorch's takes `*args, **kwargs` or `*args`": "torch.einsum",
    "removed there: refused in any form": (
        "torch.Tensor.solve torch.Tensor.lstsq torch.Tensor.eig torch.Tensor.symeig torch.solve torch.lstsq "
        "torch.eig torch.symeig torch.matrix_rank"
    ),
    "indexing by dimensions that are objects": "torch.Tensor.index",
    "refused or ignored, whatever the arguments": (
        "torch.thread_safe_generator torch.random.thread_safe_generator "
        "torch.autograd.enforce_grad_layout_policy torch.autograd.enforce_grad_layout_policy.__call__ "
        "torch.nn.functional.max_pool1d_with_indices "
        "torch.nn.functional.max_pool2d_with_indices torch.nn.functional.max_pool3d_with_indices"
    ),
    "a flag of PyTorch's insides": (
        "torch.Storage torch.BFloat16Storage torch.BoolStorage torch.ByteStorage torch.CharStorage "
        "torch.DoubleStorage torch.FloatStorage torch.HalfStorage torch.IntStorage torch.LongStorage "
        "torch.ShortStorage"
    ),
    "may be called without parentheses, as a decorator": (
        "torch.enable_grad torch.no_grad torch.autograd.enable_grad torch.autograd.no_grad"
    ),
    "accepted, and looks at no argument: there is nothing to switch": (
        "torch.autograd.detect_anomaly torch.autograd.set_detect_anomaly "
        "torch.autograd.set_multithreading_enabled torch.autograd.graph.region_activation_memory_budget "
        "torch.autograd.graph.set_override_stale_capture_stream torch.prepare_multiprocessing_environment "
        "torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch "
        "torch.utils.data.DFIterDataPipe torch.utils.data.argument_validation "
        "torch.utils.data.non_deterministic torch.utils.data.non_deterministic.__call__ "
        "torch.utils.data.runtime_validation torch.utils.data.runtime_validation_disabled"
    ),
    "made by lazygrad alone": (
        "torch.dtype torch.layout torch.memory_format torch.TypedStorage torch.UntypedStorage "
        "torch.autograd.graph.Node torch.autograd.graph.Node.metadata"
    ),
    "a flag of PyTorch's own tests": "torch.func.jacrev",
    "takes arguments of lazygrad's besides: `captured`, `chunk_size`, the argument to differentiate by": (
        "torch.func.grad torch.func.grad_and_value torch.func.jacfwd torch.func.jacrev torch.func.vjp"
    ),
    "older code gives its data source": "torch.utils.data.Sampler",
    "a file from the network is not run": "torch.hub.load_state_dict_from_url",
    "PyTorch's own class says what it never does": "torch.nn.ParameterDict.__call__",
    "whole numbers are no symbols": "torch.sym_int torch.sym_float torch.sym_max torch.sym_min torch.sym_sum",
}  # fmt: skip
DIFFERENT = {name for names in REASONS.values() for name in names.split()}


def counterpart(path: str) -> Any:
    """What lazygrad has under a name of PyTorch's; None for what it has not or refuses in use."""
    found: Any = lazygrad
    for word in path.split(".")[1:]:
        try:
            found = getattr(found, word)
        except AttributeError:
            return None
    return None if hasattr(found, "instead") else found


def of_space(space: str) -> Iterator[tuple[str, Any]]:
    """PyTorch's public functions and classes of a space, and the public methods of these classes."""
    owner = torch.Tensor if space == "torch.Tensor" else importlib.import_module(space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = [name for name in sorted(dir(owner)) if not name.startswith("_")]
        things = [(name, getattr(owner, name)) for name in names]
    for name, thing in things:
        if thing is torch.Tensor and space != "torch":
            continue
        own = str(getattr(thing, "__module__", None) or "torch").startswith("torch")
        if not callable(thing) or isinstance(thing, types.ModuleType) or not own:
            continue
        yield f"{space}.{name}", thing
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                if (not method.startswith("_") or method == "__call__") and callable(value):
                    yield f"{space}.{name}.{method}", getattr(thing, method)


def arguments(thing: Any, is_method: bool) -> list[Any] | None:
    """Names, kinds and defaults, comparable; None where nothing is told."""
    try:
        shown = list(inspect.signature(thing).parameters.values())
    except (ValueError, TypeError):
        return None
    if [p.kind for p in shown if p.name != "self"] == [
        inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    ]:  # fmt: skip
        return None
    if is_method and shown and not isinstance(thing, types.MethodType):
        shown = shown[1:]
    return [_told(p) for p in shown]


def same(got: list[Any] | None, want: list[Any]) -> bool:
    """Whether arguments are alike; those that PyTorch takes by place alone may have any name."""
    return (
        got is not None
        and len(got) == len(want)
        and all(g[1:] == w[1:] and w[0] in ("*", g[0]) for g, w in zip(got, want, strict=True))
    )


def _told(p: inspect.Parameter) -> Any:
    starred = p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    name = "*" if starred or p.kind is p.POSITIONAL_ONLY else p.name
    default = p.default
    if callable(default) and default is not p.empty:
        default = getattr(default, "__name__", type(default).__name__)
    elif isinstance(default, tuple):
        default = tuple(default)
    kind = p.POSITIONAL_OR_KEYWORD if p.kind is p.POSITIONAL_ONLY else p.kind
    return name, str(kind), "a generator" if "Generator" in repr(default) else _plain(default)


def _plain(default: Any) -> str:
    return repr(default).replace("torch.", "").replace("lazygrad.", "")


@pytest.mark.parametrize("space", SPACES)
def test_signatures(space: str) -> None:
    problems = []
    for path, theirs in of_space(space):
        ours = counterpart(path)
        if ours is None or path in DIFFERENT:
            continue
        is_method = space == "torch.Tensor" or inspect.isclass(counterpart(path.rpartition(".")[0]))
        want, got = arguments(theirs, is_method), arguments(ours, is_method)
        if want is not None and hasattr(ours, "takes_out"):  # which stands before the function that is told
            want = [argument for argument in want if argument[0] != "out"]
        if want is not None and not same(got, want):
            told = inspect.signature(ours) if got else got
            problems.append(f"{path}: {told} for {inspect.signature(theirs)}")
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems)
