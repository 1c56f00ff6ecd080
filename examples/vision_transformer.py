"""A small vision transformer reads digits: patches as words (Dosovitskiy et al., ICLR 2021).

Trained with mixup (Zhang et al., ICLR 2018), a rate that warms up, and no decay of vectors; what is
tested is a moving average of its weights.
"""

from __future__ import annotations

import copy

import numpy as np

import tinygraph as tg
from tinygraph import metrics, nn, optim
from tinygraph.data import Batches, Mixup, RandomAffine, digits
from tinygraph.train import fit, validate

SIDE, PATCH, SIZE, LAYERS, HEADS, BATCH = 28, 7, 48, 2, 4, 64


class ViT(nn.Module):
    def __init__(self) -> None:
        words = (SIDE // PATCH) ** 2
        self.patches = nn.Conv2d(1, SIZE, PATCH, stride=PATCH)
        self.first = tg.parameter(np.zeros((1, 1, SIZE), np.float32))
        noise = np.random.default_rng(0).normal(0, 0.02, (words + 1, SIZE))
        self.places = tg.parameter(noise.astype(np.float32))
        layers = [
            nn.TransformerEncoderLayer(
                SIZE, HEADS, 2 * SIZE, dropout=0.0, activation="gelu", norm_first=True
            )
            for _ in range(LAYERS)
        ]
        self.encoder, self.head = (
            nn.TransformerEncoder(layers, nn.LayerNorm(SIZE)),
            nn.Linear(SIZE, 10),
        )

    def forward(self, x: tg.Node, training: bool = False) -> tg.Node:
        n = x.shape[0]
        words = self.patches(x).reshape(n, SIZE, -1).transpose(0, 2, 1)
        first = tg.broadcast_to(self.first, (n, 1, SIZE))
        return self.head(self.encoder(tg.concat([first, words], axis=1) + self.places)[:, 0])


def main(epochs: int = 4) -> dict[str, float]:
    nn.manual_seed(0)
    training, held_back = digits()
    net = ViT()
    print(net.summary((1, 1, SIDE, SIDE)))
    x, target = tg.input("images", None, 1, SIDE, SIDE), tg.input("targets", None, 10)
    loss = nn.cross_entropy(net(x, training=True), target)
    batches = Batches(
        *training, batch_size=BATCH, transform=[RandomAffine(), Mixup(0.2, classes=10)]
    )
    steps = epochs * len(batches)
    vectors = optim.ParameterGroup(lambda p: p.ndim < 2, weight_decay=0.0)
    optimizer = optim.AdamW(
        optim.cosine(3e-3, steps, warmup=steps // 10), weight_decay=0.05, groups=[vectors]
    )
    average = optim.EMA(net, 0.99)
    updates = optimizer.updates(loss, net.parameters())
    updates += average.updates(updates)
    step = tg.compile([x, target], [loss], updates=updates, name="train")
    fit(step, batches, epochs)

    averaged = copy.deepcopy(net)
    averaged.load_state_dict(average.state_dict(), strict=False)
    predict = tg.compile([x], [averaged(x)], name="predict")
    found = validate(predict, held_back, [metrics.accuracy, metrics.f1_score])
    print(f"{found['accuracy']:.2%} of {len(held_back.labels):,} digits held back are read right")
    return {"parameters": sum(p.size for p in net.parameters()), **found}


if __name__ == "__main__":
    main()
