"""Right calls of PyTorch's objects: constructors and methods of modules, optimizers, schedules,
distributions, datasets and tensors, and functions that are in no table of operations."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch.nn.utils.prune  # neither library loads it by itself
from test_distributions import CASES as DISTRIBUTIONS
from test_distributions import A, B, P
from test_torch_optimizers import DENSE
from test_torch_schedulers import CASES as SCHEDULES
from torch_modules import MODULES, draw
from torch_mutations import mutants
from torch_object_calls import (
    CONTAINERS,
    INTEGER_METHODS,
    MODULE_METHODS,
    NEED_GRADIENTS,
    OTHER_FUNCTIONS,
    TENSOR_METHODS,
)
from torch_samples import copied, torch

import lazygrad.nn.utils.prune  # noqa: F401

Call = tuple[list[Any], dict[str, Any]]
Of = Callable[[Any], Any]  # PyTorch's values as those of a library


class Case(NamedTuple):
    """A right call: of what `find` makes of a library, with PyTorch's values."""

    title: str
    find: Callable[[Any, Of], Any]
    call: Call
    more: tuple[tuple[str, Any], ...] = ()  # other first arguments, by the words for them


def named(path: str) -> Callable[[Any, Of], Any]:
    return lambda m, of: attrgetter(path)(m)


def method_of(make: Callable[[Any, Of], Any], name: str) -> Callable[[Any, Of], Any]:
    return lambda m, of: getattr(make(m, of), name)


def whole(function: Any, args: list[Any], given: dict[str, Any] | None = None) -> Call:
    """A call with all arguments that a function of PyTorch has a default for."""
    given = dict(given or {})
    shown = inspect.signature(function)
    bound = shown.bind_partial(*args, **given).arguments
    for p in shown.parameters.values():
        plain = isinstance(p.default, bool | int | float | str | tuple | None)
        if plain and p.default is not p.empty and p.name not in bound and not p.name.startswith("_"):
            given[p.name] = tuple(p.default) if isinstance(p.default, torch.Size) else p.default
    return args, given


def of_path(path: str, *args: Any, **given: Any) -> Case:
    """A call of a function or class, with all its defaults where PyTorch tells them."""
    try:
        call = whole(attrgetter(path)(torch), list(args), given)
    except (ValueError, TypeError):
        call = list(args), given
    return Case(path, named(path), call)


def modules() -> Iterator[Case]:
    for info in MODULES:
        name, seen = info.module_cls.__name__, set()
        for sample in draw(info, torch.float32, True, gradients=False):
            made = list(sample.made_with.args), dict(sample.made_with.kwargs)
            called = list(sample.called_with.args), dict(sample.called_with.kwargs)
            kind = tuple(made[1]), tuple(map(_kind, called[0])), tuple(called[1])
            if kind in seen or len(seen) >= 3:
                continue
            if not seen:
                yield Case(f"nn.{name}", named(f"nn.{name}"), whole(info.module_cls, *made))
            seen.add(kind)

            def make(m: Any, of: Of, name: str = name, made: Call = made) -> Any:
                return getattr(m.nn, name)(*of(made[0]), **of(made[1]))

            yield Case(f"nn.{name}.forward", make, called)


def _kind(value: Any) -> Any:
    return type(value).__name__, value.ndim if isinstance(value, torch.Tensor) else 0


def parameters(m: Any, of: Of) -> list[Any]:
    return [m.nn.Parameter(of(torch.ones(2, 2)))]


def optimizers() -> Iterator[Case]:
    for info in DENSE:
        kind = info.optim_cls
        name = f"optim.{kind.__name__}"

        def construct(m: Any, of: Of, name: str = name) -> Any:
            return lambda *more, **named: attrgetter(name)(m)(parameters(m, of), *more, **named)

        def make(m: Any, of: Of, name: str = name) -> Any:
            made = attrgetter(name)(m)(parameters(m, of), lr=0.5)
            made.param_groups[0]["params"][0].grad = m.ones_like(made.param_groups[0]["params"][0])
            return made

        args, given = whole(kind, [[torch.nn.Parameter(torch.ones(2, 2))]])
        yield Case(name, construct, ([], given))
        yield Case(f"{name} of parameters", named(name), ([args[0]], {"lr": 0.5}))
        yield Case(
            f"{name}.load_state_dict",
            method_of(make, "load_state_dict"),
            ([make(torch, same).state_dict()], {}),
        )
    sgd = method_of(lambda m, of: m.optim.SGD(parameters(m, of), lr=0.5), "add_param_group")
    yield Case(
        "optim.SGD.add_param_group", sgd, ([{"params": [torch.nn.Parameter(torch.ones(3))], "lr": 0.1}], {})
    )
    zero = method_of(lambda m, of: m.optim.SGD(parameters(m, of), lr=0.5), "zero_grad")
    yield Case("optim.SGD.zero_grad", zero, ([], {"set_to_none": True}))
    for other in ("none", "twice", "unknown"):
        yield Case(f"optim.SGD of {other}", named("optim.SGD"), _odd_groups(other))


def _odd_groups(which: str) -> Call:
    p = torch.nn.Parameter(torch.ones(2))
    groups = {
        "none": [],
        "twice": [{"params": [p]}, {"params": [p]}],
        "unknown": [{"params": [p], "what": 1}],
    }
    return [groups[which]], {"lr": 0.5}


def same(value: Any) -> Any:
    return value


def _optimizer(m: Any, of: Of) -> Any:
    groups = [{"params": parameters(m, of)}, {"params": parameters(m, of), "lr": 0.1}]
    return m.optim.SGD(groups, lr=0.5, momentum=0.9)


def schedules() -> Iterator[Case]:
    seen = set()
    for name, options in SCHEDULES:
        path = f"optim.{name}" if "." in name else f"optim.lr_scheduler.{name}"
        if (path, tuple(options)) in seen:
            continue
        seen.add((path, tuple(options)))

        def construct(m: Any, of: Of, path: str = path) -> Any:
            return lambda *more, **named: attrgetter(path)(m)(_optimizer(m, of), *more, **named)

        args, given = whole(attrgetter(path)(torch), [None], options)
        yield Case(path, construct, ([], given))

        def make(m: Any, of: Of, path: str = path, options: Any = options) -> Any:
            return attrgetter(path)(m)(_optimizer(m, of), **of(options))

        first = [0.5] if name == "ReduceLROnPlateau" else []
        yield Case(f"{path}.step", method_of(make, "step"), (first, {"epoch": 3}))
    for path in ("StepLR", "ReduceLROnPlateau"):
        path = f"optim.lr_scheduler.{path}"
        options = {"step_size": 2} if path.endswith("StepLR") else {}
        yield Case(f"{path} of an optimizer", named(path), ([None], options))


def distributions() -> Iterator[Case]:
    a, b, p = (torch.tensor(v) for v in (A, B, P))
    square = torch.diag_embed(b) + p.unsqueeze(-1) * p.unsqueeze(-2)
    t = torch.tensor(0.7, dtype=torch.float64)
    for name, args, given in (
        *((n, [a, b], {}) for n in "Normal Laplace Gumbel Cauchy LogNormal VonMises LogisticNormal".split()),
        ("Uniform", [a, a + b], {}),
        *((n, [b], {}) for n in "Exponential Poisson HalfNormal HalfCauchy Chi2 Dirichlet".split()),
        *(
            (n, [b, p], {})
            for n in "Gamma InverseGamma Beta FisherSnedecor Pareto Weibull Kumaraswamy".split()
        ),
        ("StudentT", [b], {"loc": a, "scale": b}),
        *((n, [], {"probs": p}) for n in ONE_OF),
        *((n, [], {"logits": a}) for n in ONE_OF),
        *((n, [5], {"probs": p}) for n in ("Binomial", "Multinomial", "NegativeBinomial")),
        *((n, [5], {"logits": a}) for n in ("Binomial", "Multinomial", "NegativeBinomial")),
        *((n, [t], {"probs": p}) for n in RELAXED),
        *((n, [t], {"logits": a}) for n in RELAXED),
        *(("MultivariateNormal", [a], {key: square}) for key in FACTORS),
        *(("Wishart", [b[:, 0] + 6], {key: square}) for key in FACTORS),
        ("LowRankMultivariateNormal", [a, torch.stack([p, b], -1), b], {}),
        ("LKJCholesky", [3, 0.5], {}),
        ("GeneralizedPareto", [a.float(), b.float(), p.float()], {}),
    ):
        given = {k: v.tril() if k == "scale_tril" else v for k, v in given.items()}
        yield Case(
            f"distributions.{name}", named(f"distributions.{name}"), (args, {**given, "validate_args": True})
        )
    for name, (make, value) in DISTRIBUTIONS.items():
        yield from _methods(name, make, torch.tensor(value))


ONE_OF = "Bernoulli Geometric Categorical OneHotCategorical ContinuousBernoulli".split()
RELAXED = "RelaxedBernoulli RelaxedOneHotCategorical relaxed_bernoulli.LogitRelaxedBernoulli".split()
FACTORS = "covariance_matrix precision_matrix scale_tril".split()


def _methods(name: str, make: Any, value: Any) -> Iterator[Case]:
    def made(m: Any, of: Of) -> Any:
        return make(m, *(of(torch.tensor(v)) for v in (A, B, P)))

    wrong = tuple(
        (
            words,
            torch.full_like(value, x, dtype=torch.float64)
            if value.dtype == torch.int64
            else torch.full_like(value, x),
        )
        for words, x in (
            ("all below", -1.5),
            ("all half", 0.5),
            ("all above", 1e3),
            ("all infinite", np.inf),
            ("no numbers", np.nan),
        )
    )
    for method, args in (
        ("log_prob", [value]),
        ("cdf", [value]),
        ("icdf", [torch.tensor(P)]),
        ("sample", [(2,)]),
        ("rsample", [(2,)]),
        ("expand", [(2, *made(torch, same).batch_shape)]),
        ("enumerate_support", [True]),
        ("entropy", []),
    ):
        more = wrong if method in ("log_prob", "cdf") else ()
        yield Case(f"{name}.{method}", method_of(made, method), (args, {}), more)


class Numbers:
    """A dataset of six numbers."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> int:
        return range(6)[i]


def data() -> Iterator[Case]:
    x, y = torch.arange(6.0).reshape(6, 1), torch.arange(6)
    loader = whole(torch.utils.data.DataLoader, [Numbers()], {"batch_size": 2})
    for option in ("multiprocessing_context", "worker_init_fn", "collate_fn", "in_order", "num_workers"):
        loader[1].pop(option, None)

    def listed(path: str) -> Callable[[Any, Of], Any]:
        return lambda m, of: lambda *args, **given: list(attrgetter(path)(m)(*args, **given))

    def split(m: Any, of: Of) -> Any:
        return lambda *args, **given: [list(part) for part in m.utils.data.random_split(*args, **given)]

    yield Case("utils.data.DataLoader", listed("utils.data.DataLoader"), loader)
    for option, value in (
        ("prefetch_factor", 2),
        ("num_workers", -1),
        ("timeout", 5.0),
        ("persistent_workers", True),
    ):
        yield Case(
            "utils.data.DataLoader without workers",
            named("utils.data.DataLoader"),
            ([Numbers()], {option: value}),
        )
    yield Case("utils.data.TensorDataset", named("utils.data.TensorDataset"), ([x, y], {}))
    yield Case("utils.data.TensorDataset of one", named("utils.data.TensorDataset"), ([x], {}))
    yield Case("utils.data.random_split", split, ([Numbers(), [4, 2]], {}))
    yield Case("utils.data.random_split by shares", split, ([Numbers(), [0.5, 0.25, 0.25]], {}))
    for name, args in (
        ("Subset", [Numbers(), [1, 2]]),
        ("ConcatDataset", [[Numbers(), Numbers()]]),
        ("StackDataset", [Numbers(), Numbers()]),
        ("SequentialSampler", [Numbers()]),
        ("RandomSampler", [Numbers()]),
        ("SubsetRandomSampler", [[1, 2]]),
        ("WeightedRandomSampler", [[0.5, 0.25, 0.25], 4]),
        ("BatchSampler", [[1, 2, 3], 2, False]),
    ):
        path = f"utils.data.{name}"
        yield Case(
            path, listed(path), whole(attrgetter(path)(torch), args) if name != "StackDataset" else (args, {})
        )
    yield Case(
        "utils.data.DistributedSampler",
        listed("utils.data.DistributedSampler"),
        whole(torch.utils.data.DistributedSampler, [Numbers()], {"num_replicas": 2, "rank": 1}),
    )
    items = method_of(lambda m, of: m.utils.data.TensorDataset(*of([x, y])), "__getitem__")
    yield Case("utils.data.TensorDataset[]", items, ([2], {}))
    yield Case("utils.data.default_collate", named("utils.data.default_collate"), ([[x, x]], {}))


def tensors() -> Iterator[Case]:
    x, k = torch.arange(6.0).reshape(2, 3), torch.arange(6).reshape(2, 3)
    for start, rows in ((x, TENSOR_METHODS), (k, INTEGER_METHODS)):
        for name, args, given in rows:

            def find(m: Any, of: Of, name: str = name, start: Any = start) -> Any:
                made = of(start).clone()
                if name in NEED_GRADIENTS:
                    made = (
                        (made.requires_grad_() * 2)
                        if name != "register_post_accumulate_grad_hook"
                        else made.requires_grad_()
                    )
                return getattr(made, name)

            yield Case(f"Tensor.{name}", find, (list(args), dict(given)))


def initial_values() -> Iterator[Case]:
    for name in dir(torch.nn.init):
        function = getattr(torch.nn.init, name)
        if not name.endswith("_") or name.startswith("_"):
            continue
        x = torch.ones(3, 2, 2) if name == "dirac_" else torch.ones(3, 4)
        more = {"constant_": [0.5], "sparse_": [0.25]}.get(name, [])
        yield Case(f"nn.init.{name}", named(f"nn.init.{name}"), whole(function, [x, *more]))
    yield Case("nn.init.calculate_gain", named("nn.init.calculate_gain"), (["leaky_relu", 0.1], {}))


def utilities() -> Iterator[Case]:
    def weighted(*shapes: tuple[int, ...]) -> list[Any]:
        return [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]

    u = "nn.utils."
    x = torch.ones(4, 2)
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.ones(4, 2, 1), torch.tensor([4, 2]))
    for name in ("clip_grad_norm_", "clip_grad_value_"):

        def clip(m: Any, of: Of, name: str = name) -> Any:
            made = parameters(m, of)
            made[0].grad = of(torch.ones(2, 2))
            return lambda *more, **named: getattr(m.nn.utils, name)(made, *more, **named)

        given = whole(getattr(torch.nn.utils, name), [None, 1.0])[1]
        yield Case(u + name, clip, ([1.0], given))
        yield Case(u + name, named(u + name), ([weighted((2, 2), (3,)), 1.0], {}))
    yield of_path(f"{u}get_total_norm", [x, x])
    yield of_path(f"{u}parameters_to_vector", weighted((2, 2), (3,)))
    yield of_path(f"{u}vector_to_parameters", torch.ones(7), weighted((2, 2), (3,)))
    yield of_path(f"{u}rnn.pad_sequence", [torch.ones(3, 2), torch.ones(2, 2)])
    yield of_path(f"{u}rnn.unpad_sequence", torch.ones(4, 2, 1), torch.tensor([4, 2]))
    yield of_path(f"{u}rnn.pack_sequence", [torch.ones(3, 2), torch.ones(2, 2)])
    yield of_path(f"{u}rnn.pack_padded_sequence", torch.ones(4, 2, 1), torch.tensor([4, 2]))
    yield of_path(f"{u}rnn.pad_packed_sequence", packed)
    yield of_path(f"{u}rnn.unpack_sequence", packed)
    linear = torch.nn.Linear(3, 2)
    for name in (
        "weight_norm",
        "spectral_norm",
        "parametrizations.weight_norm",
        "parametrizations.spectral_norm",
        "parametrizations.orthogonal",
    ):
        yield of_path(u + name, linear)
    yield of_path(f"{u}skip_init", torch.nn.Linear, 3, 2)
    yield of_path(f"{u}parametrize.register_parametrization", linear, "weight", torch.nn.Identity())
    yield of_path(f"{u}parametrize.is_parametrized", linear, "weight")
    yield of_path(f"{u}prune.l1_unstructured", linear, "weight", 0.5)
    yield of_path(f"{u}prune.ln_structured", linear, "weight", 0.5, 2, 0)
    yield of_path(f"{u}prune.random_unstructured", linear, "weight", 2)
    yield of_path(f"{u}prune.random_structured", linear, "weight", 1, 0)
    yield of_path(f"{u}prune.custom_from_mask", linear, "weight", torch.ones(2, 3))
    yield of_path(f"{u}prune.remove", linear, "weight")
    for method, args in MODULE_METHODS:
        find = method_of(
            lambda m, of: of(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))), method
        )
        yield Case(f"nn.Module.{method}", find, (args, {}))
    for path, args in CONTAINERS:
        yield Case(path, named(path), (args, {}))


def cube(x: Any) -> Any:
    return (x * x * x).sum()


def square(x: Any) -> Any:
    return x * x


def derivatives() -> Iterator[Case]:
    x = torch.tensor([1.0, 2.0])

    def of_graph(path: str) -> Callable[[Any, Of], Any]:
        def find(m: Any, of: Of) -> Any:
            made = of(x).requires_grad_()
            result = (made * made).sum()
            return lambda *args, **given: attrgetter(path)(m)(result, made, *args, **given)

        return find

    for path in ("autograd.grad", "autograd.backward"):
        args, given = whole(attrgetter(path)(torch), [None, None] if path.endswith(".grad") else [None])
        given.pop("grad_tensors", None)
        given.pop("inputs", None)
        find = of_graph(path)
        if path.endswith("backward"):

            def find(m: Any, of: Of) -> Any:
                made = of(x).requires_grad_()
                return lambda *more, **named: m.autograd.backward((made * made).sum(), *more, **named)

        yield Case(path, find, ([], given))
    yield Case("autograd.grad of tensors", named("autograd.grad"), ([x, x], {}))
    for name in "jacobian hessian".split():
        yield of_path(f"autograd.functional.{name}", cube, x)
    for name in "vjp jvp".split():
        yield of_path(f"autograd.functional.{name}", square, x, torch.ones(2))
    for name in "vhp hvp".split():
        yield of_path(f"autograd.functional.{name}", cube, x, torch.ones(2))

    def applied(path: str) -> Callable[[Any, Of], Any]:
        return lambda m, of: lambda *args, **given: attrgetter(path)(m)(*args, **given)(of(x))

    for name in "grad grad_and_value jacrev jacfwd hessian vmap".split():
        function = square if name == "vmap" else cube
        yield Case(f"func.{name}", applied(f"func.{name}"), whole(getattr(torch.func, name), [function]))
    yield Case("func.vjp", named("func.vjp"), ([square, x], {}))
    yield Case("func.jvp", named("func.jvp"), ([square, (x,), (torch.ones(2),)], {}))
    yield Case(
        "func.functional_call",
        named("func.functional_call"),
        ([torch.nn.Linear(2, 1), {"weight": torch.ones(1, 2)}, (x,)], {}),
    )
    yield of_path("autograd.gradcheck", square, (x.double().requires_grad_(),))


def others() -> Iterator[Case]:
    for path, args in OTHER_FUNCTIONS:
        yield of_path(path, *args)
    generator = lambda m, of: m.Generator()  # noqa: E731
    for method, args in (("manual_seed", [3]), ("initial_seed", []), ("get_state", []), ("seed", [])):
        yield Case(f"Generator.{method}", method_of(generator, method), (args, {}))


GROUPS = (
    modules,
    optimizers,
    schedules,
    distributions,
    data,
    tensors,
    initial_values,
    utilities,
    derivatives,
    others,
)


def cases() -> dict[str, list[Case]]:
    """By group and name."""
    found: dict[str, list[Case]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for group in GROUPS:
            for case in group():
                found.setdefault(case.title, []).append(case)
    return found


def fresh(value: Any) -> Any:
    """The same values in memory of their own, modules too."""
    if isinstance(value, torch.nn.Module):
        return copy.deepcopy(value)
    if type(value) in (list, tuple):
        return type(value)(fresh(v) for v in value)
    return {k: fresh(v) for k, v in value.items()} if type(value) is dict else copied(value)


def all_mutants(case: Case) -> Iterator[tuple[str, Call]]:
    """The right call, and calls that differ from it in one thing."""
    yield "right", case.call
    yield from mutants(case.call)
    for words, value in case.more:
        yield f"0: {words}", ([value, *case.call[0][1:]], case.call[1])
