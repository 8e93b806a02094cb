"""Whole modules, optimizers and schedules in files: PyTorch reads what lazygrad has written of them."""

import inspect
import io

import pytest

import lazygrad
from lazygrad import nn
from lazygrad.torch_classes import _CLASSES, torch_path

torch = pytest.importorskip("torch")
ARGUMENTS = ((), (4,), (4, 4), (4, 4, 1), (1, 4, 4), (4, 2, 1, 1), (2.0,), (4, 2, 1, 8), (4, 6, [2]))
SHAPES = ((2, 4), (2, 4, 8), (2, 4, 8, 8), (2, 4, 8, 8, 8))
# made without sizes: there is nothing to save yet
KINDS = sorted(
    name for name in nn.__all__
    if inspect.isclass(getattr(nn, name)) and issubclass(getattr(nn, name), nn.Module)
    and not name.startswith("Lazy") and name not in ("DataParallel", "AdaptiveLogSoftmaxWithLoss")
)


def made(package, name):
    for arguments in ARGUMENTS:
        try:
            return getattr(package, name)(*arguments)
        except (TypeError, ValueError, AttributeError, AssertionError):
            continue
    return None


def passed(module):
    """What PyTorch reads of a file of lazygrad's."""
    file = io.BytesIO()
    lazygrad.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.filterwarnings("ignore")  # of PyTorch's, of modules without a dim
@pytest.mark.parametrize("name", KINDS)
def test_pytorch_reads_and_runs_whole_modules(name):
    ours = made(nn, name)
    if ours is None:
        pytest.skip("needs arguments of its own")
    theirs = passed(ours.eval())
    assert type(theirs) is getattr(torch.nn, name) and repr(theirs) == repr(ours)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    # what PyTorch's own module keeps is there, too
    own = made(torch.nn, name)
    assert own is None or vars(own).keys() - {"process_group"} <= vars(theirs).keys()
    for shape in SHAPES:
        values = torch.arange(float(torch.Size(shape).numel())).reshape(shape) / 50
        try:
            want = theirs(values)
        except (TypeError, RuntimeError, ValueError, IndexError, AssertionError):
            continue  # a shape for another module
        want = want[0] if isinstance(want, tuple) else want
        if name not in ("FractionalMaxPool2d", "FractionalMaxPool3d"):  # whose windows are drawn
            got = ours.to("NUMPY")(lazygrad.tensor(values.numpy(), device="NUMPY"))
            got = got[0] if isinstance(got, tuple) else got
            assert torch.allclose(torch.from_numpy(got.detach().numpy()), want, atol=1e-5)
        return


def test_modules_within_modules_and_functions_that_they_keep():
    ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, activation="gelu", batch_first=True), 2)
    theirs = passed(ours.eval())
    assert all(type(part).__module__.startswith("torch.nn.modules.") for part in theirs.modules())
    assert theirs.layers[0].activation is torch.nn.functional.gelu
    x = torch.randn(2, 3, 4)
    got = torch.from_numpy(ours(lazygrad.tensor(x.numpy())).detach().numpy())
    assert torch.allclose(theirs(x), got, atol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam",
                                  "RAdam", "ASGD", "Rprop"])
def test_optimizers_go_on_in_pytorch(name):
    layer = nn.Linear(2, 2)
    ours = getattr(lazygrad.optim, name)(layer.parameters(), lr=0.01)
    layer(lazygrad.ones(1, 2)).sum().backward()
    ours.step()
    theirs = passed(ours)
    assert type(theirs) is getattr(torch.optim, name)
    for optimizer, ones_like in ((ours, lazygrad.ones_like), (theirs, torch.ones_like)):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = ones_like(parameter)
        optimizer.step()
    for got, want in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        assert torch.allclose(torch.from_numpy(got.detach().numpy()), want.detach(), atol=1e-6)


def test_schedules_go_on_in_pytorch():
    optimizer = lazygrad.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    ours = lazygrad.optim.lr_scheduler.StepLR(optimizer, 2)
    theirs = passed(ours)
    for schedule in (ours, theirs):
        schedule.step()
        schedule.step()
    assert theirs.get_last_lr() == ours.get_last_lr() == [0.1 * 0.1]


def test_each_class_has_the_path_that_pytorch_gives_it():
    for path, names in _CLASSES.items():
        for name in names.split():
            whole = f"torch.{path}".rstrip(".")
            space = {"nn.utils.rnn": torch.nn.utils.rnn, "optim.lr_scheduler": torch.optim.lr_scheduler,
                     "optim.swa_utils": torch.optim.swa_utils}.get(path)
            spaces = (space, torch.nn, torch.optim, torch.nn.modules.linear, torch)
            theirs = next(getattr(s, name) for s in spaces if hasattr(s, name))
            assert theirs.__module__ == whole, (name, theirs.__module__)


def test_names_of_others_stay_theirs():
    class Linear(nn.Linear):
        pass

    assert torch_path(Linear) is None
    assert torch_path(nn.Linear) == ("torch.nn.modules.linear", "Linear")
    assert torch_path(test_names_of_others_stay_theirs) is None
    assert torch_path(nn.functional.relu) == ("torch.nn.functional", "relu")


def test_a_users_own_attributes_of_the_same_names_are_left_alone():
    class Scaled(nn.Linear):
        @property
        def norm(self):
            raise AssertionError("nothing asks for it")

    globals()["Scaled"] = Scaled
    Scaled.__qualname__ = "Scaled"
    file = io.BytesIO()
    lazygrad.save(Scaled(2, 2), file)
    file.seek(0)
    again = lazygrad.load(file, weights_only=False)
    assert type(again) is Scaled and "norm" not in vars(again)
