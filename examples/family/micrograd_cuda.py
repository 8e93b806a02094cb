"""micrograd-cuda (https://github.com/mlecauchois/micrograd-cuda): one network on the processor and a GPU.

    python -m examples.family.micrograd_cuda

Here a GPU is what OpenCL finds. Where nothing is a GPU, PoCL runs OpenCL on the processor.
"""

import json
import sys
from pathlib import Path

import lazygrad as torch

DATA = Path(__file__).parents[1] / "data"
XS = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
YS = [1.0, -1.0, -1.0, 1.0]


class MLP:
    """Layers of tanh neurons; each row of `rows` of a layer is a neuron: its weights, then its bias."""

    def __init__(self, layers):
        self.layers = layers

    @classmethod
    def load(cls, folder, device):
        """The network that `save` wrote."""
        layers = json.loads((folder / "mlp_weights.json").read_text()).values()
        return cls([torch.tensor(rows, dtype=torch.float64, device=device, requires_grad=True)
                    for rows in layers])

    def save(self, folder):
        sizes = [self.layers[0].shape[1] - 1] + [len(rows) for rows in self.layers]
        names = [f"nin:{before} nout:{after}" for before, after in zip(sizes, sizes[1:], strict=False)]
        rows = [layer.tolist() for layer in self.layers]
        (folder / "mlp_config.json").write_text(json.dumps(sizes, indent=4))
        (folder / "mlp_weights.json").write_text(json.dumps(dict(zip(names, rows, strict=True)), indent=4))

    def __call__(self, x):
        for rows in self.layers:
            weights, biases = rows[:, :-1], rows[:, -1]
            x = (x @ weights.T + biases).tanh()
        return x.squeeze(-1)


def train_by_batch(device, steps=20):
    """Train the network that is on disk; yield the loss of each step."""
    model = MLP.load(DATA, device)
    xs = torch.tensor(XS, dtype=torch.float64, device=device)
    ys = torch.tensor(YS, dtype=torch.float64, device=device)
    for _ in range(steps):
        loss = ((model(xs) - ys) ** 2).sum()
        for p in model.layers:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in model.layers:
                p -= 0.1 * p.grad
        yield loss.item()


def train_by_values(device, steps=20):
    """The same, from single values."""
    def Value(data):
        return torch.tensor(data, dtype=torch.float64, device=device, requires_grad=True)

    layers = json.loads((DATA / "mlp_weights.json").read_text()).values()
    layers = [[[Value(w) for w in neuron] for neuron in layer] for layer in layers]
    parameters = [p for layer in layers for neuron in layer for p in neuron]

    def output(values):
        for layer in layers:
            values = [sum((w * x for w, x in zip(weights, values, strict=True)), bias).tanh()
                      for *weights, bias in layer]
        return values[0]

    for _ in range(steps):
        loss = sum((output(x) - y) ** 2 for x, y in zip(XS, YS, strict=True))
        for p in parameters:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p -= 0.1 * p.grad
        yield loss.item()


def first_output(device):
    model = MLP.load(DATA, device)
    return model(torch.tensor(XS[0], dtype=torch.float64, device=device)).item()


def devices():
    """The processor, and what OpenCL finds."""
    try:
        return ["cpu", torch.empty(0, device="cl").device]
    except RuntimeError:
        return ["cpu"]


def rows():
    for device in devices():
        yield f"3-4-4-1 on {device}: first output", "-0.5952", first_output(device)
        for name, train in (("by batch", train_by_batch), ("by values", train_by_values)):
            losses = list(train(device))
            yield f"3-4-4-1 on {device}, {name}: loss of step 1", "4.82390", losses[0]
            yield f"3-4-4-1 on {device}, {name}: loss of step 20", "0.00900", losses[-1]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from examples.family.report import main

    main("micrograd_cuda", rows, losses=lambda: {"loss": train_by_batch("cpu")})
