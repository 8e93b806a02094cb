"""What subclasses and loops of public code call of PyTorch's classes under names with an underscore."""

import typing

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad

X = np.linspace(-1, 1, 2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


def test_embeddings_fill_their_padding_row():
    class Drawn(lazygrad.nn.Embedding):
        def reset_parameters(self):
            lazygrad.nn.init.ones_(self.weight)
            self._fill_padding_idx_with_zero()

    assert Drawn(3, 2, padding_idx=1).weight.tolist() == [[1, 1], [0, 0], [1, 1]]
    bag = lazygrad.nn.EmbeddingBag(3, 2, padding_idx=2)
    assert bag.weight[2].tolist() == [0, 0] and all(bag.weight[0] != 0)


def test_instance_norm_in_parts():
    results = []
    for m in (lazygrad, pytorch()):
        norm = m.nn.InstanceNorm1d(3, affine=True)
        x = m.tensor(X)
        results.append([norm._apply_instance_norm(x).detach(), norm._handle_no_batch_input(x[0]).detach()])
        assert norm._get_no_batch_dim() == 2
    check(*results)


def own_lstm(m):
    """An LSTM whose forward checks and reorders states by PyTorch's methods."""

    class Own(m.nn.LSTM):
        def forward(self, input, hx):
            self._init_flat_weights()
            order = m.tensor([1, 0])
            hx = self.permute_hidden(tuple(hx), order)
            self.check_forward_args(input, hx, None)
            y, _ = super().forward(input[:, order], hx)
            return y.index_select(1, order)

    m.manual_seed(0)
    lstm = Own(4, 5)
    with m.no_grad():
        for weight in lstm.parameters():
            weight.copy_(m.linspace(-1, 1, weight.numel()).view(weight.shape))
    states = [m.tensor(X[:1, :2, :1]).expand(1, 2, 5) * scale for scale in (1, 2)]
    return lstm, lstm(m.tensor(X[:, :2]), states).detach()


def test_recurrent_layers_checks():
    (lstm, ours), (_, theirs) = own_lstm(lazygrad), own_lstm(pytorch())
    check(ours, theirs)
    wrong = (lazygrad.ones(1, 2, 5), lazygrad.ones(1, 2, 4))
    with pytest.raises(RuntimeError, match=r"Expected hidden\[1\] size \(1, 2, 5\), got \[1, 2, 4\]"):
        lstm.check_forward_args(lazygrad.ones(3, 2, 4), wrong, None)


def test_a_submodule_may_have_the_name_of_a_method():
    for m in (lazygrad, pytorch()):
        class Named(m.nn.Module):
            def __init__(self):
                super().__init__()
                self.parameters = m.nn.ParameterList([m.nn.Parameter(m.ones(2))])  # noqa: B023

        named = Named()
        assert [name for name, _ in named.named_parameters()] == ["parameters.0"]
        assert len(list(named.parameters())) == 1 and list(named.state_dict()) == ["parameters.0"]
        with pytest.raises(KeyError, match="already exists"):
            named.add_module("forward", m.nn.ReLU())


def closed_forms(m):
    class Halves(m.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [7.0 for _ in self.base_lrs]

        def _get_closed_form_lr(self):
            return [base / 2**self.last_epoch for base in self.base_lrs]

    seen = []
    schedules = m.optim.lr_scheduler
    for make in (Halves, lambda o: schedules.StepLR(o, 2), lambda o: schedules.CosineAnnealingLR(o, 9)):
        optimizer = m.optim.SGD([m.nn.Parameter(m.ones(1))], lr=1.0)
        scheduler = make(optimizer)
        optimizer.step()
        scheduler.step(3)
        seen.append((optimizer.param_groups[0]["lr"], scheduler._get_closed_form_lr()[0]))
    return seen


@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_schedules_use_their_closed_form():
    np.testing.assert_allclose(closed_forms(lazygrad), closed_forms(pytorch()), rtol=1e-6)


def test_loops_ask_for_hooks_iterators_and_numbers():
    nn, data = lazygrad.nn, lazygrad.utils.data
    layer = nn.Linear(2, 2)
    hook = layer.register_full_backward_hook(lambda *given: None)
    assert len(layer._get_backward_hooks()[0]) == 1 and layer._get_backward_pre_hooks() == []
    hook.remove()
    x = lazygrad.ones(1, 2)
    assert layer._slow_forward(x).tolist() == layer(x).tolist()
    row = nn.Sequential(nn.ReLU(), layer)
    assert row._get_item_by_idx(row._modules.values(), -1) is layer
    assert nn.ModuleList([layer, layer])._get_abs_string_index(-1) == "1"
    assert data.ConcatDataset.cumsum([[1, 2], [3]]) == [2, 3]
    assert lazygrad.amp.GradScaler("cpu")._get_growth_tracker() == 0

    class Reversed(data.DataLoader):
        def _get_iterator(self):
            return reversed(list(super()._get_iterator()))

    assert [int(x) for x in Reversed([1, 2, 3])] == [3, 2, 1]
    parallel = nn.DataParallel(layer)
    inputs, named = parallel.scatter((x,), {}, [0])
    outputs = parallel.parallel_apply(parallel.replicate(layer, [0]), inputs, named)
    assert parallel.gather(outputs, None).tolist() == layer(x).tolist()


def test_optimizers_of_others_check_nothing():
    class Plain(lazygrad.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

        def step(self):
            self._cuda_graph_capture_health_check()
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.sub_(p.grad)

    p = lazygrad.nn.Parameter(lazygrad.ones(2))
    p.grad = lazygrad.ones(2)
    optimizer = Plain([p])
    optimizer.profile_hook_step(optimizer.step)()
    assert p.tolist() == [0, 0]


def test_annotations_of_instances_are_types():
    kinds = [value for value in vars(lazygrad.nn).values() if isinstance(value, type)]
    assert len(kinds) > 100
    for kind in kinds:  # looked at far from the files whose names they use
        for value in getattr(kind, "__annotations__", {}).values():
            assert not isinstance(value, str), kind
    loss = lazygrad.nn.CrossEntropyLoss()
    loss.__annotations__ = typing.get_type_hints(loss, globalns={}, localns={})
    assert loss(lazygrad.zeros(1, 2), lazygrad.tensor([0])).item() == pytest.approx(np.log(2))
