"""Every module of PyTorch's table of them: attributes, arguments and registered names, copies and pickles,
layouts of inputs, and what is refused."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from typing import Any

import pytest
from torch_modules import MODULES, ModuleCounterparts, Pair, draw, finish, problem_words
from torch_samples import attempt, copied, last_word, leaves, torch

import lazygrad
from lazygrad import config

# PyTorch's own way of numbering functions, and what it looks up once
NOT_KEPT = {"T_destination", "call_super_init", "dump_patches"}


@pytest.fixture(autouse=True)
def _same_numbers():
    with config.override(RNG="torch"):
        yield


def module_name(info: Any) -> str:
    return info.name.removeprefix("nn.")


def first_pairs(info: Any, problems: list[str], most: int = 4) -> list[Pair]:
    samples = draw(info, torch.float32, True)
    chosen = {str(s.made_with.kwargs) + str(s.made_with.args): s for s in samples}
    pairs = [Pair(s, "NUMPY", problems) for s in list(chosen.values())[:most]]
    return [pair for pair in pairs if pair.made]


@pytest.mark.parametrize("info", MODULES, ids=module_name)
def test_names(info: Any) -> None:
    """Registered names, kinds of modules inside, public attributes and arguments are PyTorch's."""
    problems: list[str] = []
    for pair in first_pairs(info, problems):
        mine, yours = pair.ours, pair.theirs
        for table in ("_parameters", "_buffers", "_modules"):
            got, want = vars(mine)[table], vars(yours)[table]
            pair.equal(table, list(got), list(want))
            pair.equal(
                f"None in {table}", [got.get(k) is None for k in want], [v is None for v in want.values()]
            )
        pair.equal("unsaved buffers", mine._non_persistent_buffers_set, yours._non_persistent_buffers_set)
        pair.equal(
            "modules", *[[(name, type(m).__name__) for name, m in x.named_modules()] for x in (mine, yours)]
        )
        for part in (x for x in vars(yours) if not x.startswith("_") and x not in NOT_KEPT):
            want = getattr(yours, part)
            if not hasattr(mine, part):
                pair.note("attributes", f"no {part}, which is {want!r}")
            elif isinstance(want, int | float | str | tuple | bool | None):
                pair.equal(f".{part}", getattr(mine, part), want)
        pair.equal("extra_repr", mine.extra_repr(), yours.extra_repr())
        got, want = ([p.name for p in inspect.signature(type(x)).parameters.values()] for x in (mine, yours))
        if "args" not in want:
            pair.equal("arguments", got, want)
    finish(problems)


@pytest.mark.parametrize("info", MODULES, ids=module_name)
def test_copies(info: Any) -> None:
    """Copies, pickles and files give the same outputs, and so does what PyTorch pickles."""
    problems: list[str] = []
    samples = draw(info, torch.float32, False)
    for sample in samples[:: max(len(samples) // 2, 1)][:2]:
        pair = Pair(sample, "NUMPY", problems)
        if not pair.made or info.is_lazy:
            continue
        pair.ours.eval()
        pair.to(torch.float32, False)
        inputs = ModuleCounterparts("NUMPY").of(
            copied([list(sample.called_with.args), sample.called_with.kwargs])
        )
        file = io.BytesIO()
        lazygrad.save(pair.ours, file)
        file.seek(0)
        others = {
            "deepcopy": lambda p=pair: copy.deepcopy(p.ours),
            "pickle": lambda p=pair: pickle.loads(pickle.dumps(p.ours)),
            "load": lambda f=file: lazygrad.load(f, weights_only=False).to("NUMPY"),
            "PyTorch's": lambda p=pair: ModuleCounterparts("NUMPY").of(p.theirs.eval()),
        }
        lazygrad.manual_seed(0)
        want = list(leaves(pair.ours(*inputs[0], **inputs[1])))
        for name, make in others.items():
            other, problem = attempt(make)
            if problem is not None:
                pair.note(name, problem_words(problem))
                continue
            pair.equal(f"repr of {name}", repr(other), repr(pair.ours))
            lazygrad.manual_seed(0)
            got, problem = attempt(lambda other=other, inputs=inputs: other(*inputs[0], **inputs[1]))
            if problem is not None:
                pair.note(name, problem_words(problem))
                continue
            for g, w in zip(leaves(got), want, strict=True):
                same = not isinstance(w, lazygrad.Tensor) or lazygrad.equal(g.nan_to_num(), w.nan_to_num())
                if not same:
                    pair.note(name, "other outputs")
    finish(problems)


def spread(tensor: Any) -> Any:
    """The same values with gaps between them."""
    if not isinstance(tensor, torch.Tensor) or not tensor.ndim:
        return tensor
    room = torch.stack([tensor.detach(), tensor.detach()], -1)
    return room[..., 0].requires_grad_(tensor.requires_grad)


def channels_last(tensor: Any) -> Any:
    if not isinstance(tensor, torch.Tensor) or tensor.ndim not in (4, 5):
        return tensor
    kind = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    return tensor.detach().contiguous(memory_format=kind).requires_grad_(tensor.requires_grad)


@pytest.mark.parametrize("change", [spread, channels_last], ids=["gaps", "channels last"])
@pytest.mark.parametrize("info", MODULES, ids=module_name)
def test_layouts(info: Any, change: Any) -> None:
    problems: list[str] = []
    if info.name == "nn.CTCLoss" and change is spread:
        return  # PyTorch's reads targets in one row with gaps at wrong places
    samples = draw(info, torch.float32, True)
    for sample in samples[:: max(len(samples) // 3, 1)][:3]:
        given = sample.called_with
        args, kwargs = [change(a) for a in given.args], {k: change(v) for k, v in given.kwargs.items()}
        if all(
            a is b
            for a, b in zip([*args, *kwargs.values()], [*given.args, *given.kwargs.values()], strict=True)
        ):
            continue
        pair = Pair(sample, "NUMPY", problems)
        if pair.made:
            given.args, given.kwargs = args, kwargs
            pair.load()
            pair.call(given)
            pair.compare()
    finish(problems)


@pytest.mark.parametrize("info", MODULES, ids=module_name)
def test_conversions(info: Any) -> None:
    """`.to`, `.double`, `requires_grad_`, `train`, `zero_grad`, `apply`, and counts of what is registered."""
    problems: list[str] = []
    for pair in first_pairs(info, problems, 2):
        if info.is_lazy:
            continue
        for step in (
            lambda m, lib: m.to(lib.float64),
            lambda m, lib: m.half(),
            lambda m, lib: m.bfloat16(),
            lambda m, lib: m.float(),
            lambda m, lib: m.requires_grad_(False),
            lambda m, lib: m.eval(),
            lambda m, lib: m.train(),
            lambda m, lib: m.requires_grad_(),
            lambda m, lib: m.to("meta"),
        ):
            for module, library in ((pair.ours, lazygrad), (pair.theirs, torch)):
                step(module, library)
            pair.equal(
                "states",
                *[
                    [
                        (k, tuple(v.shape), last_word(v.dtype), v.requires_grad, v.device.type == "meta")
                        for k, v in [*m.named_parameters(), *m.named_buffers()]
                    ]
                    for m in (pair.ours, pair.theirs)
                ],
            )
            pair.equal("modes", *[[x.training for x in m.modules()] for m in (pair.ours, pair.theirs)])
    finish(problems)


@pytest.mark.parametrize("info", [i for i in MODULES if i.module_error_inputs_func], ids=module_name)
def test_errors(info: Any) -> None:
    """Wrong arguments of constructors and calls raise PyTorch's built-in type of error."""
    problems = []
    wrongs = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    )
    for wrong in wrongs:
        given = wrong.module_error_input
        made, called = given.constructor_input, given.forward_input
        seen = []
        for kind in (info.module_cls, getattr(lazygrad.nn, info.module_cls.__name__)):
            one = ModuleCounterparts("NUMPY")
            values = [copied([list(f.args), f.kwargs]) if f is not None else [[], {}] for f in (made, called)]
            values = one.of(values) if kind is not info.module_cls else values
            module, problem = attempt(kind, *values[0][0], **values[0][1])
            if problem is None:
                module = module if kind is info.module_cls else module.to("NUMPY")
                _, problem = attempt(module, *values[1][0], **values[1][1])
            seen.append(problem)
        want, got = seen
        if want is None:
            continue
        builtin = next(k for k in type(want).__mro__ if k.__module__ == "builtins")
        if not isinstance(got, builtin):
            problems.append(f"{type(got).__name__}: {got} for {builtin.__name__}: {want}")
    finish(problems)
