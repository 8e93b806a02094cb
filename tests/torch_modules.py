"""PyTorch's modules on PyTorch's own samples of them, and the same modules of lazygrad beside them."""

from __future__ import annotations

import dataclasses
import io
import warnings
from typing import Any

from torch_samples import Counterparts, array, attempt, copied, differs, last_word, leaves, torch, weights

import lazygrad
from lazygrad import nn

# how large the numbers are that gradients are made from, where not near 1: PyTorch's of CTC are
# ten times further from those of float64 than ours, those of attention in 16 bits half as far again
ATTENTION = ("MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerEncoderLayer",
             "TransformerDecoder", "TransformerDecoderLayer")  # fmt: skip
FLOORS = {"CTCLoss": 4.0}


class ModuleCounterparts(Counterparts):
    """Counterparts of modules, too, which are read from PyTorch's own pickles, and of plain classes."""

    def of(self, value: Any) -> Any:
        if isinstance(value, torch.nn.Module | torch.nn.utils.rnn.PackedSequence):
            return from_pickle(value, self.device)
        if dataclasses.is_dataclass(value) and type(value).__module__.startswith("torch.nn."):
            kind = getattr(nn, type(value).__name__)
            return kind(**{f.name: self.of(getattr(value, f.name)) for f in dataclasses.fields(value)})
        return super().of(value)


def from_pickle(value: Any, device: str) -> Any:
    """What PyTorch pickles, read by lazygrad."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return lazygrad.load(file, weights_only=False).to(device)


class Sample:
    """One way to make a module and to call it."""

    def __init__(self, kind: type, made_with: Any, called_with: Any, label: str) -> None:
        self.kind, self.made_with, self.called_with, self.label = kind, made_with, called_with, label

    @property
    def ours(self) -> Any:
        return getattr(nn, self.kind.__name__)

    def __str__(self) -> str:
        return f"{self.kind.__name__} {self.label}"


def words(made: Any, called: Any) -> str:
    """The arguments of a constructor and the shapes of a call, short."""

    def word(v: Any) -> str:
        if isinstance(v, torch.Tensor):
            return f"{str(v.dtype).removeprefix('torch.')}{list(v.shape)}"
        if isinstance(v, list | tuple):
            return "(" + ", ".join(map(word, v)) + ")"
        return str(v).split("\n")[0][:40]

    def call(f: Any) -> str:
        return ", ".join([word(a) for a in f.args] + [f"{k}={word(v)}" for k, v in f.kwargs.items()])

    return f"({call(made)})" + ("" if called is None else f"({call(called)})")


def draw(info: Any, dtype: Any, training: bool, gradients: bool = True) -> list[Sample]:
    torch.manual_seed(0)
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=gradients, training=training
    )
    return [
        Sample(
            info.module_cls, i.constructor_input, i.forward_input, words(i.constructor_input, i.forward_input)
        )
        for i in inputs
    ]


def problem_words(problem: Exception) -> str:
    return f"{type(problem).__name__}: {str(problem)[:300]}"


class Pair:
    """A module of PyTorch and ours, made with the same arguments, and what is unlike between the two."""

    def __init__(self, sample: Sample, device: str, problems: list[str]) -> None:
        self.sample, self.device, self.problems = sample, device, problems
        self.compared: list[tuple[str, Any, Any]] = []
        made = copied([list(sample.made_with.args), sample.made_with.kwargs])
        torch.manual_seed(1)
        self.theirs, self.refused = attempt(sample.kind, *made[0], **made[1])
        args, kwargs = ModuleCounterparts(device).of(made)
        lazygrad.manual_seed(1)
        self.ours, problem = attempt(lambda: sample.ours(*args, **kwargs))
        self.made = self.refused is None and problem is None
        if problem is not None and self.refused is None:
            self.note("constructor", problem_words(problem))
        if self.made:
            self.ours.to(device)

    def note(self, where: str, what: str) -> None:
        self.problems.append(f"{self.sample}: {where}: {what}")

    def equal(self, where: str, got: Any, want: Any) -> None:
        if got != want:
            self.note(where, f"{got!r} for {want!r}")

    def same_beginning(self) -> None:
        """What a module prints, and the initial values of its parameters, bit for bit."""
        self.equal("repr", repr(self.ours), repr(self.theirs))
        mine, yours = self.ours.state_dict(), self.theirs.state_dict()
        self.equal("keys", list(mine), list(yours))
        for (key, g), w in zip(mine.items(), yours.values(), strict=False):
            words = differs(g, w, 0.0) if isinstance(w, torch.Tensor) and not lazy(w) else ""
            if words or isinstance(w, torch.Tensor) and not lazy(w) and not (array(g) == array(w)).all():
                self.note(f"initial {key}", words or "other bits")

    def load(self) -> None:
        """PyTorch's state into ours."""
        state = self.theirs.state_dict()
        if any(lazy(v) for v in state.values()):
            return
        one = ModuleCounterparts(self.device)
        loaded, problem = attempt(lambda: self.ours.load_state_dict(one.of(dict(state))))
        self.equal("load_state_dict", str(problem or loaded), "<All keys matched successfully>")

    def to(self, dtype: Any, training: bool) -> None:
        self.theirs.to(dtype).train(training)
        self.ours.to(getattr(lazygrad, last_word(dtype))).train(training)

    def call(self, called: Any, label: str = "", gradients: bool = True) -> None:
        """A call of both, backward, and what has become of the state."""
        inputs = copied([list(called.args), called.kwargs])
        one = ModuleCounterparts(self.device)
        args, kwargs = one.of(inputs)
        torch.manual_seed(2)
        want, refused = attempt(self.theirs, *inputs[0], **inputs[1])
        if refused is not None:
            return
        lazygrad.manual_seed(2)
        got, problem = attempt(self.ours, *args, **kwargs)
        if problem is not None:
            self.note(f"forward{label}", problem_words(problem))
            return
        wants, gots = list(leaves(want)), list(leaves(got))
        if len(wants) != len(gots):
            self.note(f"forward{label}", f"{len(gots)} results for {len(wants)}")
            return
        self.compared += [(f"forward{label}", g, w) for g, w in zip(gots, wants, strict=True)]
        if gradients:
            self.backward(label, inputs, one, gots, wants)
        mine, yours = self.ours.state_dict(), self.theirs.state_dict()
        self.equal(f"keys after{label}", list(mine), list(yours))
        self.compared += [(f"{key} after{label}", mine.get(key), w) for key, w in yours.items()]

    def backward(self, label: str, inputs: Any, one: ModuleCounterparts, gots: list, wants: list) -> None:
        outs = [(g, w) for g, w in zip(gots, wants, strict=True) if isinstance(w, torch.Tensor)]
        self.equal(
            f"requires_grad{label}", [g.requires_grad for g, _ in outs], [w.requires_grad for _, w in outs]
        )
        outs = [(g, w) for g, w in outs if w.requires_grad]
        if not outs:
            return
        self.theirs.zero_grad()
        self.ours.zero_grad()
        loss = sum((w * torch.tensor(weights(w)).to(w.dtype)).sum() for _, w in outs)
        _, refused = attempt(loss.backward)
        if refused is not None:
            return

        def backward() -> None:
            sum(
                (g * lazygrad.tensor(weights(g), device=self.device).to(g.dtype)).sum() for g, _ in outs
            ).backward()

        _, problem = attempt(backward)
        if problem is not None:
            self.note(f"backward{label}", problem_words(problem))
            return
        yours = [
            (str(k), t) for k, t in enumerate(leaves(inputs)) if isinstance(t, torch.Tensor) and t.is_leaf
        ]
        mine = [one.of(t) for _, t in yours]
        yours += list(self.theirs.named_parameters())
        mine += list(self.ours.parameters())
        for (name, w), g in zip(yours, mine, strict=True):
            self.compared.append((f"gradient of {name}{label}", g.grad, w.grad))

    def compare(self) -> None:
        """Everything that was noted for comparison: all of it is computed at once."""
        _, problem = attempt(
            lazygrad.realize, *(g for _, g, _ in self.compared if isinstance(g, lazygrad.Tensor))
        )
        kind = self.sample.kind.__name__
        for label, g, w in self.compared:
            of_16_bits = isinstance(w, torch.Tensor) and w.element_size() == 2
            floor = 4.0 if of_16_bits and kind in ATTENTION else FLOORS.get(kind, 1.0)
            words, broken = attempt(differs, g, w, floor if "gradient" in label else 1e-6)
            if words or broken:
                self.note(label, words or problem_words(broken))
        self.compared = []


def lazy(tensor: Any) -> bool:
    return isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin)


def finish(problems: list[str]) -> None:
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:8])


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

MODULES = list(module_db)
