"""Wrong calls of PyTorch's objects, made of right ones: refused where PyTorch refuses them, in words and with
the same built-in type of error, and accepted where PyTorch accepts them."""

from __future__ import annotations

import zlib
from re import fullmatch
from typing import Any, NamedTuple

import pytest
from torch_modules import ModuleCounterparts
from torch_mutations import CAUGHT, DIFFERENT, NO_KERNEL, from_inside, is_about_kinds, said
from torch_objects import Call, Case, all_mutants, cases, fresh, same
from torch_samples import Absent, attempt, leaves, torch

import lazygrad
from lazygrad import config
from lazygrad.errors import ArgumentTypeError, LazygradError, UnsupportedError

CASES = cases()
TITLES, CALLS = 6, 4  # of them, one of so many; all with --every-dtype


class OnPurpose(NamedTuple):
    """What stays different: how, in which calls (patterns of whole titles and of what describes the mutant),
    and why."""

    how: str
    title: str
    words: str
    reason: str


REFUSED, ACCEPTED, OTHER_ERROR = "refused here", "accepted here", "other error"
FLAGS = "(a text|2|None|a float|a bool|a list)"
SCALAR_INSIDE = "PyTorch's formula happens to take it, or not: one rule for all distributions here"
ON_PURPOSE = (
    OnPurpose(
        ACCEPTED,
        ".*requires_grad_|set_grad_enabled|use_deterministic.*|autograd.*|nn.Parameter",
        f".*: {FLAGS}",
        "a flag is what its truth is",
    ),
    OnPurpose(
        ".*", ".*", ".*NumPy's", "a number of NumPy is a number, which PyTorch's code in Python forgets"
    ),
    OnPurpose(
        REFUSED, "nn.*ConvTranspose.*", "padding: a text", "named at once, where PyTorch's forward does"
    ),
    OnPurpose(
        REFUSED, "nn.(BatchNorm.*|PReLU)|optim.Muon", ".*: (twice|far above)", "a number is not two, and few"
    ),
    OnPurpose(REFUSED, "nn.LPPool.*", "0: (int64|bool)", "norms need floats"),
    OnPurpose(
        REFUSED, "nn.(AdaptiveMaxPool|InstanceNorm).*", "0: empty", "an input without elements has no maxima"
    ),
    OnPurpose(
        ACCEPTED, "nn.FractionalMaxPool.*", "(output_ratio: a list|0: far below)", "found at the first call"
    ),
    OnPurpose(ACCEPTED, "nn.Lazy.*", "(groups: a float|0: empty)", "found when the sizes are known"),
    OnPurpose(ACCEPTED, "nn.LinearCrossEntropyLoss", "1: a bool", "True is 1"),
    OnPurpose(ACCEPTED, "nn.CTCLoss.forward", "1: one axis more", "a batch of one is broadcast"),
    OnPurpose(
        OTHER_ERROR, "nn.Transformer.*", "[01]: (no axis|one axis less)", "attention names the rank first"
    ),
    OnPurpose(OTHER_ERROR, "nn.LSTM.forward", "1: .*", "a pair that is none"),
    OnPurpose(
        OTHER_ERROR,
        "optim.lr_scheduler.*",
        ".*: (a text|twice|None|a number)",
        "a wrong value is one, of any kind",
    ),
    OnPurpose(
        ".*", "nn.utils.clip_grad_value_", ".*", "PyTorch's own kernel refuses gradients that there are not"
    ),
    OnPurpose(
        ACCEPTED,
        "nn.utils.(prune.*|vector_to_parameters)",
        ".*: (a bool|bool|int64)",
        "True is 1, and values are cast",
    ),
    OnPurpose(
        ".*",
        "nn.utils.(rnn|parametriz|spectral|weight).*",
        ".*",
        "checked before what PyTorch finds in the middle",
    ),
    OnPurpose(
        ".*",
        "nn.init.(trunc_normal_|dirac_)",
        ".*: (above one|below zero|empty)",
        "bounds the wrong way round draw nothing",
    ),
    OnPurpose(
        ".*",
        "utils.data.*Sampler|utils.data.DataLoader",
        ".*",
        "iterators ask when they begin: Python's own words",
    ),
    OnPurpose(
        OTHER_ERROR,
        "nn.Module.*|nn.Buffer|Tensor.type",
        ".*",
        "what is loaded or looked up by name, as PyTorch words it",
    ),
    OnPurpose(
        ACCEPTED,
        "distributions.*|.*log_prob|.*icdf|.*cdf",
        ".*: (int64|bool|float32|a float|far below|empty|no axis)",
        "whole numbers and truths become floats, as everywhere",
    ),
    OnPurpose(REFUSED, "distributions.*|.*log_prob|.*icdf|.*cdf|.*expand", ".*", SCALAR_INSIDE),
    OnPurpose(OTHER_ERROR, "distributions.*|.*log_prob|.*icdf|.*cdf|.*expand", ".*", SCALAR_INSIDE),
    OnPurpose(
        ACCEPTED,
        "Size|Tensor.new_tensor",
        ".*",
        "sizes are made at every step, and asked where they are used",
    ),
    OnPurpose(
        ".*",
        "Tensor.(__.*__|stride|detach_|map_|set_)",
        ".*",
        "operators are called by Python, with two operands",
    ),
    OnPurpose(
        ".*",
        "testing.assert_close|autograd.*|func.*|amp.GradScaler|device|set_.*|result_type",
        ".*",
        "words and kinds of PyTorch's own code in Python",
    ),
)


def compared(case: Case, words: str, call: Call) -> str:
    """How lazygrad's answer to a call differs from PyTorch's, in words, unless on purpose."""
    how, what = difference(case, words, call)
    purpose = any(
        fullmatch(row.how, how) and fullmatch(row.title, case.title) and fullmatch(row.words, words)
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
        return REFUSED, f"{said(problem)} where PyTorch accepts it"
    builtin = next(k for k in type(refused).__mro__ if k.__module__ == "builtins")
    if problem is None:
        left_out = builtin is TypeError and words.startswith("without") or words.endswith(": None")
        return ACCEPTED, "" if left_out or builtin is NO_KERNEL else f"nothing raised for {said(refused)}"
    wanted: Any = builtin if issubclass(builtin, CAUGHT) else (builtin, *CAUGHT)
    if any(isinstance(problem, ours) and issubclass(builtin, theirs) for ours, theirs, _ in DIFFERENT):
        return "", ""
    if not isinstance(problem, wanted):
        return OTHER_ERROR, f"{said(problem)} for {said(refused)}"
    clear = isinstance(problem, LazygradError) and str(problem).startswith("[") or not from_inside(problem)
    return OTHER_ERROR, "" if clear else f"unclear: {said(problem)} for {said(refused)}"


@pytest.mark.parametrize("title", CASES)
def test_wrong_calls(title: str, pytestconfig: pytest.Config) -> None:
    every = pytestconfig.getoption("--every-dtype")
    if not every and zlib.crc32(title.encode()) % TITLES:
        return
    problems = []
    with config.override(RNG="torch", DEVICE="NUMPY"):
        for case in CASES[title]:
            for words, call in all_mutants(case):
                if every or zlib.crc32(f"{title} {words}".encode()) % CALLS == 0:
                    problem = compared(case, words, call)
                    if problem:
                        problems.append(f"{words}: {problem}")
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:8])
