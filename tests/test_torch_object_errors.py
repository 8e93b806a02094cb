"""Wrong calls of PyTorch's objects, made of right ones: refused where PyTorch refuses them, in words and with
the same built-in type of error, and accepted where PyTorch accepts them."""

from __future__ import annotations

import zlib
from re import fullmatch
from typing import Any

import pytest
from torch_modules import ModuleCounterparts
from torch_mutations import (
    ACCEPTS,
    CAUGHT,
    DIFFERENT,
    NO_KERNEL,
    OTHER_ERROR,
    REFUSES,
    OnPurpose,
    from_inside,
    is_about_kinds,
    said,
)
from torch_objects import Call, Case, all_mutants, cases, fresh, same
from torch_samples import Absent, attempt, leaves, torch

import lazygrad
from lazygrad import config
from lazygrad.errors import ArgumentTypeError, LazygradError, UnsupportedError

CASES = cases()
TITLES, CALLS = 6, 4  # of them, one of so many; all with --every-dtype


FLAG = "(a text|2|None|a float|a bool|a list)"
TYPES = "(int64|bool|float32|float64)"
SHAPED = "(flat|no axis|empty|axis . longer|all .*|no numbers|one axis .*|two axes more)"
ON_PURPOSE = (
    # accepted here
    OnPurpose(".*", ".*", ".*NumPy's", "a number of NumPy is one: PyTorch's code in Python forgets it"),
    OnPurpose(
        ACCEPTS,
        ".*requires_grad_|set_grad_enabled|use_deterministic.*|nn.Parameter",
        f".*: {FLAG}",
        "as flags",
    ),
    OnPurpose(ACCEPTS, "autograd.*|testing.assert_close", f"[a-z_]+: {FLAG}", "a flag is what its truth is"),
    OnPurpose(ACCEPTS, "autograd.gradcheck", "nondet_tol: below zero", "nothing differs from run to run"),
    OnPurpose(ACCEPTS, "autograd.functional.hessian", "1: empty", "a Hessian without elements"),
    OnPurpose(
        ACCEPTS, "nn.FractionalMaxPool.*", "(output_ratio: a list|0: far below)", "found at the first call"
    ),
    OnPurpose(ACCEPTS, "nn.Lazy.*", "(groups: a float|0: empty)", "found when the sizes are known"),
    OnPurpose(ACCEPTS, "nn.LinearCrossEntropyLoss|nn.utils.prune.*|Tensor.stride", ".: a bool", "True is 1"),
    OnPurpose(ACCEPTS, "nn.CTCLoss.forward", "1: one axis more", "a batch of one is broadcast"),
    OnPurpose(ACCEPTS, "nn.utils.vector_to_parameters|Tensor.map_", f"0: {TYPES}", "values are cast"),
    OnPurpose(
        ACCEPTS, "nn.utils.(parametrizations.)?weight_norm", "dim: far .*", "every dimension has a length"
    ),
    OnPurpose(
        ACCEPTS, "nn.utils.clip_grad_value_", ".*", "there, a kernel refuses parameters without gradients"
    ),
    OnPurpose(
        ACCEPTS,
        "nn.init.trunc_normal_",
        ".: (above one|below zero)",
        "bounds the wrong way round draw nothing",
    ),
    OnPurpose(ACCEPTS, "utils.data.DataLoader", "timeout: .*", "nobody is waited for without workers"),
    OnPurpose(
        ACCEPTS,
        "distributions.*|.*log_prob|.*cdf",
        f".*: {TYPES}",
        "whole numbers become floats, as elsewhere",
    ),
    OnPurpose(
        ACCEPTS, "Gumbel.cdf", "0: all (above|infinite)", "within the support, which there is rounded"
    ),
    OnPurpose(
        ACCEPTS,
        "distributions.(OneHotCategorical|Binomial|Multinomial|NegativeBinomial|LKJCholesky|PowerT.*|CatT.*)",
        ".*: (a float|a text|a list|no list|empty|no axis|far below)",
        "found when it is sampled or applied: PyTorch asks a part of it first",
    ),
    OnPurpose(
        ACCEPTS, "Size|Tensor.new_tensor", "0: .*", "sizes are asked where they are used; no number is NaN"
    ),
    OnPurpose(ACCEPTS, "result_type", ".*", "of any number of operands"),
    OnPurpose(ACCEPTS, "Tensor.set_", "one more", "an offset is taken beside a tensor, too"),
    # refused here
    OnPurpose(REFUSES, "nn.*ConvTranspose.*", "padding: a text", "named at once, there at the first call"),
    OnPurpose(
        REFUSES,
        "nn.(BatchNorm.*|PReLU)|optim.Muon|set_printoptions",
        ".*: (twice|far above|a text)",
        "not a number",
    ),
    OnPurpose(REFUSES, "nn.LPPool.*", "0: (int64|bool)", "norms need floats"),
    OnPurpose(
        REFUSES, "nn.(AdaptiveMaxPool|InstanceNorm|init.dirac_).*", "0: empty", "no elements, no maxima"
    ),
    OnPurpose(REFUSES, "nn.LSTM.forward", "1: the last twice", "a pair is two"),
    OnPurpose(
        REFUSES,
        "nn.utils.rnn.*",
        "(0: one axis less at 1|1: float..)",
        "sequences of other shapes, lengths that are floats",
    ),
    OnPurpose(
        REFUSES,
        "distributions.*|.*cdf|.*log_prob",
        f".*: ({TYPES}|a number)",
        "parameters and values are of floats",
    ),
    OnPurpose(REFUSES, "logistic.expand", "0: empty", "a batch does not get fewer dimensions"),
    OnPurpose(
        REFUSES,
        "Tensor.__.*__",
        "(one more|twenty more|without .*|an unknown keyword)",
        "Python gives operators two",
    ),
    OnPurpose(REFUSES, "amp.GradScaler", "init_scale: .*", "named at once, there at the first step"),
    # another error
    OnPurpose(
        OTHER_ERROR, "nn.Transformer.*", "[01]: (no axis|one axis less)", "attention names the rank first"
    ),
    OnPurpose(OTHER_ERROR, "nn.LSTM.forward", "1: (empty|one less)", "a pair is two"),
    OnPurpose(
        OTHER_ERROR, "optim.lr_scheduler.*", f".*: ({FLAG}|twice|a number)", "a wrong value, of any kind"
    ),
    OnPurpose(OTHER_ERROR, "utils.data.*Sampler", ".*", "asked when iteration begins: Python's own words"),
    OnPurpose(OTHER_ERROR, "nn.utils.rnn.*", "[01]: (None|a float|a list)", "no sequences"),
    OnPurpose(
        OTHER_ERROR, "nn.Module.(to|type)|Tensor.type", "(one more|0: a number)", "a number names a device"
    ),
    OnPurpose(
        OTHER_ERROR,
        "nn.Module.(load_state_dict|__getattr__)",
        ".*",
        "in PyTorch's words, which programs read",
    ),
    OnPurpose(OTHER_ERROR, "nn.Module.state_dict", "twenty more", "older forms by place"),
    OnPurpose(OTHER_ERROR, ".*cdf", f"0: {SHAPED}", "a part has no cdf, whatever the value is"),
    OnPurpose(
        OTHER_ERROR,
        ".*cdf|.*log_prob",
        "0: (None|a text|a list|no list)",
        "no tensor: one rule for all distributions",
    ),
    OnPurpose(
        OTHER_ERROR, "distributions.(LowRank|Reshape).*", ".*: (no axis|a .* at .)", "sizes that do not fit"
    ),
    OnPurpose(OTHER_ERROR, "Tensor.(stride|__.etitem__)", "0: .*", "Python's own words about an index"),
    OnPurpose(
        OTHER_ERROR,
        "autograd.*|func.*|device|result_type|amp.GradScaler|testing.assert_close",
        ".*",
        "refused there by code in Python, some in other words",
    ),
)


def compared(case: Case, words: str, call: Call) -> str:
    """How lazygrad's answer to a call differs from PyTorch's, in words, unless on purpose."""
    how, what = difference(case, words, call)
    purpose = any(
        fullmatch(row.how, how) and fullmatch(row.names, case.title) and fullmatch(row.words, words)
        for row in ON_PURPOSE
    )
    return "" if purpose else what


def difference(case: Case, words: str, call: Call) -> tuple[str, str]:
    one = ModuleCounterparts("NUMPY")
    inputs = fresh([list(call[0]), call[1]])
    ours, problem = attempt(one.of, inputs)
    if problem is not None:
        return "", ""
    torch.manual_seed(1)
    theirs, problem = attempt(case.find, torch, same)
    assert problem is None, problem
    _, refused = attempt(theirs, *inputs[0], **inputs[1])
    lazygrad.manual_seed(1)
    mine, problem = attempt(case.find, lazygrad, one.of)
    assert problem is None, problem

    def run() -> None:
        results = mine(*ours[0], **ours[1])
        lazygrad.realize(*(r for r in leaves(results) if isinstance(r, lazygrad.Tensor)))

    _, problem = attempt(run)
    return compare_errors(problem, refused, words)


def compare_errors(problem: Exception | None, refused: Exception | None, words: str) -> tuple[str, str]:
    """How lazygrad's answer differs from PyTorch's, and in words."""
    if isinstance(problem, UnsupportedError | Absent):
        return "", ""
    if refused is None:
        if problem is None or isinstance(problem, ArgumentTypeError) and is_about_kinds(words):
            return "", ""
        return REFUSES, f"{said(problem)} where PyTorch accepts it"
    builtin = next(k for k in type(refused).__mro__ if k.__module__ == "builtins")
    if problem is None:
        left_out = builtin is TypeError and words.startswith("without") or words.endswith(": None")
        return ACCEPTS, "" if left_out or builtin is NO_KERNEL else f"nothing raised for {said(refused)}"
    wanted: Any = builtin if issubclass(builtin, CAUGHT) else (builtin, *CAUGHT)
    if any(isinstance(problem, ours) and issubclass(builtin, theirs) for ours, theirs, _ in DIFFERENT):
        return "", ""
    if not isinstance(problem, wanted):
        return OTHER_ERROR, f"{said(problem)} for {said(refused)}"
    clear = isinstance(problem, LazygradError) and str(problem).startswith("[") or not from_inside(problem)
    return OTHER_ERROR, "" if clear else f"unclear: {said(problem)} for {said(refused)}"


@pytest.mark.parametrize("title", CASES)
def test_wrong_calls(title: str, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    every = pytestconfig.getoption("--every-dtype")
    if not every and zlib.crc32(title.encode()) % TITLES:
        return
    # PyTorch's compiler, which other tests wake, turns this off for good
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)
    problems = []
    with config.override(RNG="torch", DEVICE="NUMPY"):
        for case in CASES[title]:
            for words, call in all_mutants(case):
                if every or zlib.crc32(f"{title} {words}".encode()) % CALLS == 0:
                    problem = compared(case, words, call)
                    if problem:
                        problems.append(f"{words}: {problem}")
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:8])
