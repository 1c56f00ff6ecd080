"""A variational autoencoder learns digits, and draws new ones (Kingma and Welling, ICLR 2014).

The encoder gives a normal distribution over 16 numbers for each picture; the decoder draws the
picture from a sample of it. The loss is the bound of the paper's appendix B, in nats a picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import Batches, digits
from tinygraph.pictures import gallery, save
from tinygraph.train import fit

CODES, HIDDEN, PIXELS, BATCH = 16, 256, 784, 100


class VAE(nn.Module):
    def __init__(self) -> None:
        self.encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(HIDDEN, CODES), nn.Linear(HIDDEN, CODES)
        self.decoder = nn.Sequential(nn.Linear(CODES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))

    def forward(self, x: tg.Node, training: bool = False) -> tuple[tg.Node, tg.Node, tg.Node]:
        """Logits of the pixels, and the distributions' means and log variances."""
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        noise = tg.random_normal(mean.shape) if training else 0.0
        return self.decoder(mean + tg.exp(log_variance / 2) * noise), mean, log_variance


def bound(net: VAE, x: tg.Node, training: bool) -> list[tg.Node]:
    """The loss, its part of the pictures, and its part of the codes."""
    logits, mean, log_variance = net(x, training=training)
    pixels = nn.binary_cross_entropy_with_logits(logits, x, reduction="none")
    codes = 0.5 * (tg.exp(log_variance) + mean * mean - 1 - log_variance)
    parts = [tg.mean(tg.sum(each, axis=1)) for each in (pixels, codes)]
    return [parts[0] + parts[1], *parts]


def main(folder: Path = Path("pictures"), epochs: int = 8) -> dict[str, float]:
    nn.manual_seed(0)
    (images, _), (held_back, _) = digits()
    net, x = VAE(), tg.input("x", None, PIXELS)
    loss, *parts = bound(net, x, training=True)
    step = tg.compile(
        [x], [loss, *parts], updates=optim.Adam(2e-3).updates(loss, net.parameters()), name="train"
    )
    check = tg.compile([x], bound(net, x, training=False), name="check")
    batches = Batches(images.reshape(-1, PIXELS), batch_size=BATCH)
    history = fit(step, batches, epochs, validation=(check, (held_back.reshape(-1, PIXELS),)))

    code = tg.input("code", None, CODES)
    draw = tg.compile([code], [tg.sigmoid(net.decoder(code))], name="draw")
    codes = np.random.default_rng(0).normal(size=(32, CODES)).astype(np.float32)
    drawn = draw(codes)[0].reshape(-1, 28, 28)
    print(save(folder / "vae.svg", gallery([("", image) for image in drawn], 8, zoom=3)))
    print(save(folder / "vae_learning.svg", history.svg()))
    return {
        "first loss": history[0].loss,
        "loss": history[-1].values["val_loss"],
        "ink of drawn digits": float(drawn.mean()),
        "ink of digits": float(images.mean()),
    }


if __name__ == "__main__":
    main()
