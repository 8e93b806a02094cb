"""torch.autograd.graph: each program notes what it sees, under lazygrad and under PyTorch."""

import pytest
from torch_support import outcome, pytorch

import lazygrad


def double_of(m):
    """A Function that saves its argument and its result."""

    class Doubled(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * x + y

    return Doubled.apply


def products(m):
    a, b = (m.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
    return a, b, a * b, a * b + 1


def listed(grads):
    return [g is not None and g.tolist() for g in grads]


def all_gradients(m, note):
    a, b, c, d = products(m)
    handle = m.autograd.graph.register_multi_grad_hook((a, b, c, d), lambda grads: note(listed(grads)))
    c.sum().backward(retain_graph=True)
    c.sum().backward(inputs=(a,), retain_graph=True)
    (c * d).sum().backward(retain_graph=True)
    b.grad = None
    with handle:
        d.sum().backward(retain_graph=True)
    d.sum().backward()
    note(b.grad.tolist())


def gradients_of_grad(m, note):
    _, _, c, d = products(m)
    m.autograd.graph.register_multi_grad_hook([c, d], lambda grads: note(listed(grads)))
    note(listed(m.autograd.grad(c.sum() + (d * d).sum(), [c, d])))


def any_gradient(m, note):
    a, b, c, d = products(m)
    tensors = (c, a, b.detach())
    with m.autograd.graph.register_multi_grad_hook(tensors, lambda g: note(g.tolist()), mode="any"):
        c.sum().backward(retain_graph=True)
        (c + a).sum().backward(retain_graph=True)
    c.sum().backward()


def passes_within_passes(m, note):
    a, _, c, _ = products(m)
    m.autograd.graph.register_multi_grad_hook([c], lambda grads: note(listed(grads)))

    def inner(g):
        e = (a.detach() * 2).requires_grad_()
        with m.enable_grad():
            (e * e).sum().backward()
        note(e.grad.tolist())

    c.register_hook(inner)
    c.sum().backward()


def edges(m, note):
    a = m.ones(2, requires_grad=True)
    b = a * 3
    c = b * b
    edge = m.autograd.graph.get_gradient_edge
    note(edge(b).node.name(), edge(a).node.name(), edge(b).output_nr, edge(b)[:2] == (b.grad_fn, 0))
    note(listed(m.autograd.grad(c.sum(), [edge(b), edge(a)], retain_graph=True)))
    note(listed(m.autograd.grad(edge(c), a, grad_outputs=m.ones(2), retain_graph=True)))
    m.autograd.backward(edge(c), m.ones(2), retain_graph=True)
    note(a.grad.tolist())
    m.autograd.backward(c.sum(), inputs=edge(a), retain_graph=True)
    note(a.grad.tolist())
    there, d = edge(b), (b * 4).sum()
    with m.no_grad():
        b.mul_(0)
    note(listed(m.autograd.grad(d, there)))


def hooks_of_what_is_saved(m, note):
    doubled = double_of(m)
    a = m.tensor([1.0, 2.0], requires_grad=True)

    def pack(x):
        note("pack", x.tolist(), x.requires_grad, m.is_grad_enabled())
        return x.detach() * 10

    def unpack(x):
        note("unpack", x.tolist())
        return x

    graph = m.autograd.graph
    with graph.saved_tensors_hooks(lambda x: 1 / 0, unpack), graph.saved_tensors_hooks(pack, unpack):
        y = doubled(a)
    y.sum().backward()
    note(a.grad.tolist(), doubled(a).tolist())
    with graph.save_on_cpu():
        doubled(a).sum().backward()
    note(a.grad.tolist())
    with graph.saved_tensors_hooks(pack, lambda x: 1):
        y = doubled(a)
    note(type(outcome(lambda: y.sum().backward())).__mro__[-3:])


def written_after_saving(m, note):
    doubled = double_of(m)
    for allowed in (False, True):
        a = m.ones(2, requires_grad=True)
        b = a.clone()
        if not allowed:
            out = doubled(b).sum()
            b.sin_()
            note(isinstance(outcome(out.backward), RuntimeError))
            continue
        with m.autograd.graph.allow_mutation_on_saved_tensors():
            out = doubled(b).sum() + (b**2).sum()
            b.sin_()
            out.backward()
        note([round(v, 5) for v in a.grad.tolist()])


def versions(m, note):
    a = m.ones(2, requires_grad=True)
    b = a * 2
    m.autograd.graph.increment_version(a)
    m.autograd.graph.increment_version([a, b])
    note(a._version, b._version, b.tolist())
    c = (a * 3 + b).sum()
    c.backward()
    note(a.grad.tolist())


def operations(m, note):
    y = m.ones(2, requires_grad=True) * 2
    node = y.grad_fn
    note(isinstance(node, m.autograd.graph.Node), node.requires_grad, node.metadata)
    node.metadata["seen"] = 1
    note(y.grad_fn.metadata)


PROGRAMS = (
    all_gradients, gradients_of_grad, any_gradient, passes_within_passes, edges, hooks_of_what_is_saved,
    written_after_saving, versions, operations,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_programs_see_the_same(program):
    seen = []
    for m in (lazygrad, pytorch()):
        notes = []
        program(m, lambda *said, notes=notes: notes.append(said))
        seen.append(notes)
    assert seen[0] == seen[1] and seen[0]


def nested_hooks_disabled(m):
    with m.autograd.graph.disable_saved_tensors_hooks("not here"), m.autograd.graph.save_on_cpu():
        pass


def disabled_within_hooks(m):
    with m.autograd.graph.save_on_cpu(), m.autograd.graph.disable_saved_tensors_hooks("not here"):
        pass


def allowed_twice(m):
    with m.autograd.graph.allow_mutation_on_saved_tensors():
        with m.autograd.graph.allow_mutation_on_saved_tensors():
            pass


MISTAKES = {
    "hooks disabled": (nested_hooks_disabled, "not here"),
    "disabled too late": (disabled_within_hooks, "not here"),
    "mutation allowed twice": (allowed_twice, "cannot be nested"),
    "an edge of no gradient": (lambda m: m.autograd.graph.get_gradient_edge(m.ones(1)), "does not require"),
    "a mode": (lambda m: m.autograd.graph.register_multi_grad_hook([], print, mode="x"), "Expects mode"),
    "no seed": (lambda m: m.autograd.grad(
        m.autograd.graph.get_gradient_edge(m.ones(2, requires_grad=True) * 2), m.ones(2, requires_grad=True)),
        "scalar outputs"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    run, words = MISTAKES[name]
    found = [outcome(lambda m=m: run(m)) for m in (lazygrad, pytorch())]
    assert all(isinstance(f, Exception) and words in str(f) for f in found), found
    builtin = [next(k for k in type(f).__mro__ if k.__module__ == "builtins") for f in found]
    assert builtin[0] is builtin[1] and str(found[0]).startswith("[")


