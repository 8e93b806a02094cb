"""Programs as PyTorch users write them, with lazygrad and with PyTorch from the same weights: same results.

Each program takes the library and returns named arrays: losses, weights and gradients after a few steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import COMPILING, LISTED
from torch_support import pytorch

import lazygrad

Results = dict[str, Any]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights(module: Any, torch: Any, seed: int = 0) -> Any:
    """The module, with weights that both libraries can be given."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, value in module.state_dict().items():
        made = rng.standard_normal(tuple(value.shape)).astype(np.float32)
        state[name] = torch.tensor(abs(made) + 0.5 if "var" in name else 0.3 * made)
    module.load_state_dict({k: v for k, v in state.items() if "num_batches" not in k}, strict=False)
    return module


def dump(module: Any) -> Results:
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def grads(module: Any) -> Results:
    found = ((name, p.grad) for name, p in module.named_parameters())
    return {"gradient of " + name: g.numpy().copy() for name, g in found if g is not None}


def classifier(torch: Any) -> Results:
    nn, F, optim = torch.nn, torch.nn.functional, torch.optim

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1 = nn.Linear(8, 32)
            self.l2 = nn.Linear(32, 32)
            self.out = nn.Linear(32, 4)
            self.drop = nn.Dropout(0.0)

        def forward(self, x):
            x = F.relu(self.l1(x))
            x = self.drop(torch.tanh(self.l2(x)))
            return self.out(x)

    m = weights(Net(), torch)
    X = torch.from_numpy(normal(1, 64, 8))
    Y = torch.tensor(np.random.default_rng(2).integers(0, 4, 64))
    decay = [p for n, p in m.named_parameters() if p.dim() > 1]
    rest = [p for n, p in m.named_parameters() if p.dim() <= 1]
    opt = optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0, "lr": 3e-3}],
        lr=1e-2,
        betas=(0.9, 0.95),
    )
    losses, accs, total, running = [], [], 0.0, 0.0
    for _ in range(3):
        for i in range(0, 64, 16):
            xb, yb = X[i : i + 16], Y[i : i + 16]
            opt.zero_grad()
            logits = m(xb)
            loss = F.cross_entropy(logits, yb)
            loss.backward()
            opt.step()
            running += loss.item() * xb.size(0)
            total += loss.detach()
            losses.append(loss)
            accs.append((logits.argmax(dim=1) == yb).float().mean().item())
    return {
        **dump(m),
        **grads(m),
        "losses": np.array([loss.item() for loss in losses]),
        "accs": np.array(accs),
        "total": total.numpy(),
        "running": running,
    }


def residual_network(torch: Any) -> Results:
    nn, F, optim = torch.nn, torch.nn.functional, torch.optim

    class Block(nn.Module):
        def __init__(self, i, o, s):
            super().__init__()
            self.conv1 = nn.Conv2d(i, o, 3, stride=s, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(o)
            self.conv2 = nn.Conv2d(o, o, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(o)
            self.short = nn.Sequential()
            if s != 1 or i != o:
                self.short = nn.Sequential(nn.Conv2d(i, o, 1, stride=s, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            out = F.relu(self.bn1(self.conv1(x)), inplace=True)
            out = self.bn2(self.conv2(out))
            out += self.short(x)
            return F.relu(out)

    m = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        Block(4, 8, 2),
        Block(8, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.0),
        nn.Linear(8, 3),
    )
    weights(m, torch)
    opt = optim.SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    X = torch.tensor(normal(3, 8, 1, 12, 12))
    Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    crit = nn.CrossEntropyLoss(label_smoothing=0.1)
    ls = []
    for _ in range(3):
        m.train()
        opt.zero_grad()
        loss = crit(m(X), Y)
        loss.backward()
        opt.step()
        ls.append(loss.item())
    m.eval()
    with torch.no_grad():
        out = m(X)
    return {**dump(m), **grads(m), "ls": np.array(ls), "out": out.numpy()}


def transformer(torch: Any) -> Results:
    nn, F, optim = torch.nn, torch.nn.functional, torch.optim
    V, T, C, H = 17, 8, 16, 4

    class Attn(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(C, 3 * C, bias=False)
            self.proj = nn.Linear(C, C)

        def forward(self, x):
            B, T, C = x.size()
            q, k, v = self.qkv(x).split(C, dim=2)
            q, k, v = (t.view(B, T, H, C // H).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.proj(y.transpose(1, 2).contiguous().view(B, T, C))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln1 = nn.LayerNorm(C)
            self.at = Attn()
            self.ln2 = nn.LayerNorm(C)
            self.mlp = nn.ModuleDict(
                {"fc": nn.Linear(C, 4 * C), "act": nn.GELU(approximate="tanh"), "pr": nn.Linear(4 * C, C)}
            )

        def forward(self, x):
            x = x + self.at(self.ln1(x))
            return x + self.mlp.pr(self.mlp.act(self.mlp.fc(self.ln2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte = nn.Embedding(V, C)
            self.wpe = nn.Embedding(T, C)
            self.h = nn.ModuleList([Block() for _ in range(2)])
            self.lnf = nn.LayerNorm(C)
            self.head = nn.Linear(C, V, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, idx, y=None):
            x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
            for b in self.h:
                x = b(x)
            logits = self.head(self.lnf(x))
            loss = (
                None
                if y is None
                else F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1), ignore_index=-1)
            )
            return logits, loss

    m = weights(GPT(), torch)
    assert len(list(m.parameters())) == 2 + 11 * 2 + 2
    opt = optim.AdamW(m.parameters(), lr=1e-2, weight_decay=0.1)
    data = torch.tensor(np.random.default_rng(5).integers(0, V, 200))
    ls = []
    for s in range(4):
        ix = [s * 3, s * 3 + 20, s * 3 + 40]
        x = torch.stack([data[i : i + T] for i in ix])
        y = torch.stack([data[i + 1 : i + T + 1] for i in ix]).clone()
        y[0, :2] = -1
        _, loss = m(x, y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        ls.append(loss.item())
    m.eval()
    idx = torch.tensor([[1, 2]])
    with torch.no_grad():
        for _ in range(5):
            lg, _ = m(idx[:, -T:])
            lg = lg[:, -1, :] / 0.8
            v, _ = torch.topk(lg, 5)
            lg[lg < v[:, [-1]]] = -float("inf")
            p = F.softmax(lg, dim=-1)
            idx = torch.cat((idx, p.argmax(-1, keepdim=True)), dim=1)
    return {**dump(m), **grads(m), "ls": np.array(ls), "idx": idx.numpy(), "p": p.numpy()}


def variational_autoencoder(torch: Any) -> Results:
    nn, F, optim = torch.nn, torch.nn.functional, torch.optim

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(20, 16)
            self.mu = nn.Linear(16, 3)
            self.lv = nn.Linear(16, 3)
            self.fc3 = nn.Linear(3, 16)
            self.fc4 = nn.Linear(16, 20)

        def forward(self, x, eps):
            h = F.relu(self.fc1(x))
            mu, lv = self.mu(h), self.lv(h)
            z = mu + eps * torch.exp(0.5 * lv)
            return torch.sigmoid(self.fc4(F.silu(self.fc3(z)))), mu, lv

    m = weights(VAE(), torch)
    opt = optim.Adam(m.parameters(), lr=1e-2)
    ls = []
    x = torch.tensor(1 / (1 + np.exp(-normal(7, 10, 20))))
    for s in range(3):
        eps = torch.tensor(normal(10 + s, 10, 3))
        r, mu, lv = m(x, eps)
        bce = F.binary_cross_entropy(r, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp())
        loss = bce + kl
        opt.zero_grad()
        loss.backward()
        opt.step()
        ls.append([bce.item(), kl.item()])
    return {**dump(m), **grads(m), "ls": np.array(ls)}


def adversarial_networks(torch: Any) -> Results:
    nn, _F, optim = torch.nn, torch.nn.functional, torch.optim
    G = weights(
        nn.Sequential(
            nn.Linear(4, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6), nn.Tanh()
        ),
        torch,
        1,
    )
    D = weights(nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Sigmoid()), torch, 2)
    oG = optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999))
    oD = optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))
    bce = nn.BCELoss()
    ls = []
    for s in range(3):
        real = torch.tensor(normal(20 + s, 8, 6))
        z = torch.tensor(normal(30 + s, 8, 4))
        ones, zeros = torch.full((8,), 1.0), torch.zeros(8)
        D.zero_grad()
        out = D(real).view(-1)
        eR = bce(out, ones)
        eR.backward()
        dx = out.mean().item()
        fake = G(z)
        out = D(fake.detach()).view(-1)
        eF = bce(out, zeros)
        eF.backward()
        dz1 = out.mean().item()
        errD = eR + eF
        oD.step()
        G.zero_grad()
        out = D(fake).view(-1)
        eG = bce(out, ones)
        eG.backward()
        dz2 = out.mean().item()
        oG.step()
        ls.append([errD.item(), eG.item(), dx, dz1, dz2])
    return {
        **{"G" + k: v for k, v in dump(G).items()},
        **{"D" + k: v for k, v in dump(D).items()},
        **grads(D),
        "ls": np.array(ls),
    }


def scalars(torch: Any) -> Results:
    a = torch.tensor(-4.0, requires_grad=True)
    b = torch.tensor(2.0, requires_grad=True)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    x = torch.tensor([2.0, 0.0]).double().requires_grad_()
    w = torch.tensor([-3.0, 1.0]).double()
    w.requires_grad = True
    bb = torch.tensor(6.8813735870195432).double()
    bb.requires_grad = True
    n = x[0] * w[0] + x[1] * w[1] + bb
    o = torch.tanh(n)
    o.backward()
    return {
        "g": g.data.item(),
        "a": a.grad.item(),
        "b": b.grad.item(),
        "o": o.item(),
        "x": x.grad.numpy(),
        "w": w.grad.numpy(),
        "bb": bb.grad.item(),
    }


def gradient_penalty(torch: Any) -> Results:
    nn, _F, optim = torch.nn, torch.nn.functional, torch.optim
    D = weights(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 1)), torch)
    opt = optim.Adam(D.parameters(), lr=1e-2)
    ls = []
    for s in range(3):
        real, fake = torch.tensor(normal(s, 6, 4)), torch.tensor(normal(s + 9, 6, 4))
        al = torch.tensor(np.abs(normal(s + 5, 6, 1)).clip(0, 1))
        inter = (al * real + (1 - al) * fake).requires_grad_(True)
        d = D(inter)
        g = torch.autograd.grad(
            outputs=d,
            inputs=inter,
            grad_outputs=torch.ones_like(d),
            create_graph=True,
            retain_graph=True,
            only_inputs=True,
        )[0]
        gp = ((g.norm(2, dim=1) - 1) ** 2).mean()
        loss = D(fake).mean() - D(real).mean() + 10 * gp
        opt.zero_grad()
        loss.backward()
        opt.step()
        ls.append([loss.item(), gp.item()])
    x = torch.tensor([0.3, -0.7, 1.2], dtype=torch.float64, requires_grad=True)
    y = (x**3).sum() + torch.prod(x)
    (g1,) = torch.autograd.grad(y, x, create_graph=True)
    hess = torch.stack([torch.autograd.grad(g1[i], x, retain_graph=True)[0] for i in range(3)])
    return {**dump(D), **grads(D), "ls": np.array(ls), "hess": hess.numpy()}


def buffers_and_copies(torch: Any) -> Results:
    nn, F, optim = torch.nn, torch.nn.functional, torch.optim

    class Norm(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(n))
            self.register_buffer("mean", torch.zeros(n))
            self.register_buffer("steps", torch.tensor(0))

        def forward(self, x):
            if self.training:
                with torch.no_grad():
                    self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
                    self.steps += 1
            return (x - self.mean) * self.scale

    torch.manual_seed(3)
    m = nn.Sequential(nn.Linear(4, 6), Norm(6), nn.ReLU(), nn.Linear(6, 2))

    def init(loss):
        if isinstance(loss, nn.Linear):
            nn.init.xavier_uniform_(loss.weight)
            nn.init.zeros_(loss.bias)

    m.apply(init)
    assert float(m[0].bias.abs().sum()) == 0 and float(m[0].weight.abs().max()) <= math.sqrt(6 / 10)
    nn.init.constant_(m[0].bias, 0.1)
    nn.init.eye_(m[3].weight)
    weights(m, torch)
    ema = copy.deepcopy(m)
    for p in ema.parameters():
        p.requires_grad_(False)
    opt = optim.Adam(m.parameters(), lr=1e-2)
    X, Y = torch.tensor(normal(1, 5, 4)), torch.tensor(normal(2, 5, 2))
    for _ in range(3):
        opt.zero_grad()
        F.mse_loss(m(X), Y).backward()
        opt.step()
        with torch.no_grad():
            for e, p in zip(ema.parameters(), m.parameters(), strict=True):
                e.mul_(0.9).add_(p, alpha=0.1)
            for e, b in zip(ema.buffers(), m.buffers(), strict=True):
                e.copy_(b)
    saved = {k: v.numpy() for k, v in m.state_dict().items()}
    saved = {k: v.copy() for k, v in saved.items()}
    so = copy.deepcopy(opt.state_dict())
    m2 = copy.deepcopy(m)
    with torch.no_grad():
        for p in m2.parameters():
            p.zero_()
    m2.load_state_dict({k: torch.from_numpy(v) for k, v in saved.items()})
    o2 = optim.Adam(m2.parameters(), lr=1e-2)
    o2.load_state_dict(so)
    for _ in range(2):
        for mm, oo in ((m, opt), (m2, o2)):
            oo.zero_grad()
            F.mse_loss(mm(X), Y).backward()
            oo.step()
    return {
        **dump(m),
        **{"2" + k: v for k, v in dump(m2).items()},
        **{"e" + k: v for k, v in dump(ema).items()},
        "eval": m.eval()(X).detach().numpy(),
    }


PROGRAMS = [
    classifier,
    residual_network,
    transformer,
    variational_autoencoder,
    adversarial_networks,
    scalars,
    gradient_penalty,
    buffers_and_copies,
]


CASES = [(program, "NUMPY") for program in PROGRAMS] + [
    (variational_autoencoder, "CPU"),
    (adversarial_networks, "CPU"),
    (scalars, "CPU"),
    (scalars, "CL"),
]  # the others take long to compile
if LISTED:
    CASES = [(program, name) for program in PROGRAMS for name in LISTED]


@pytest.mark.parametrize(("program", "name"), CASES, ids=lambda p: getattr(p, "__name__", p))
def test_program_gives_what_pytorch_gives(program: Callable[[Any], Results], name: str) -> None:
    if name == "CL" and name not in COMPILING:
        pytest.skip("no OpenCL platform")
    expected = program(pytorch())
    with lazygrad.config.override(DEVICE=name):
        results = program(lazygrad)
    assert results.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(results[key], value, rtol=2e-3, atol=2e-5, err_msg=key)
