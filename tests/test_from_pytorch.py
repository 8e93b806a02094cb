"""The table of docs/from-pytorch.md is what the code says, and as full as it has to be."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent


def maker():
    """The script that writes the table."""
    spec = importlib.util.spec_from_file_location("make_from_pytorch", ROOT / "docs" / "make_from_pytorch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_up_to_date():
    make = maker()
    page = make.PAGE.read_text()
    assert make.written(page) == page, "run python docs/make_from_pytorch.py"


def test_nearly_all_names_are_there():
    make = maker()
    rows = make.states()
    for least, share in ((2, 0.97), (0, 0.90)):
        asked = [(name, state) for _, name, count, state in rows if count >= least]
        missing = [name for name, state in asked if state == make.MISSING]
        assert len(missing) <= (1 - share) * len(asked), missing


def test_names_that_are_nothing_are_found_missing():
    make = maker()
    known = make.owners()
    for name in ("torch.surely_not", "Tensor.surely_not", "import torch.surely_not", "torch.nn.Surely"):
        assert make.state_of(name, known) == make.MISSING
    assert make.state_of("torch.fx.symbolic_trace", known) == make.REFUSED
    assert make.state_of("torch.fx.wrap", known) == make.ACCEPTED
    assert make.state_of("torch.nn.functional.relu", known) == make.WORKS
