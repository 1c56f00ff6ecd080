"""Makes torch_optim.npz: what PyTorch's optimizers do in five steps, for tests/test_optim.py.

    python tests/golden/make_torch_optim.py        needs PyTorch (made with 2.13); the tests do not

Two parameters w[4, 3] and b[3] are fitted to fixed points with the loss mean((x @ w + b - t) ** 2).
Each case has w and b after each step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

STEPS = 5
CASES: dict[str, Callable[[list[Any]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "sgd_decay": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.05),
    "adam_decay": lambda p: torch.optim.Adam(p, 0.05, (0.8, 0.95), 1e-3, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.02, weight_decay=0.01),
    "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, 0.02, alpha=0.9, eps=1e-4, momentum=0.7),
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, 0.02, centered=True, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1, 0.05, initial_accumulator_value=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, 0.05, weight_decay=0.01),
    "groups": lambda p: torch.optim.AdamW(
        [{"params": [p[0]], "lr": 0.1}, {"params": [p[1]], "weight_decay": 0.0}], 0.05,
        weight_decay=0.1,
    ),
    "clipped_values": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "clipped": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
}

_rates = torch.optim.lr_scheduler
SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "step_decay": lambda o: _rates.StepLR(o, 6, 0.3),
    "exponential": lambda o: _rates.ExponentialLR(o, 0.9),
    "cosine": lambda o: _rates.CosineAnnealingLR(o, 20, 0.1),
    "linear": lambda o: _rates.LinearLR(o, 1.0, 0.2, 10),
    "polynomial": lambda o: _rates.PolynomialLR(o, 12, 1.5),
    "piecewise": lambda o: _rates.MultiStepLR(o, [3, 9], 0.5),
    "restarts": lambda o: _rates.CosineAnnealingWarmRestarts(o, 6, eta_min=0.1),
    "one_cycle": lambda o: _rates.OneCycleLR(o, 2.0, 21),
    "joined": lambda o: _rates.SequentialLR(
        o, [_rates.ConstantLR(o, 0.5, 100), _rates.ExponentialLR(o, 0.9)], [4]
    ),
}


def main() -> None:
    rng = np.random.default_rng(0)
    start = {n: rng.standard_normal(s).astype("float32") for n, s in (("w", (4, 3)), ("b", (3,)))}
    x, t = (rng.standard_normal(s).astype("float32") for s in ((8, 4), (8, 3)))
    found: dict[str, np.ndarray] = {"x": x, "t": t, **start}
    for name, make in CASES.items():
        w, b = (torch.tensor(v, requires_grad=True) for v in start.values())
        optimizer = make([w, b])
        steps = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            ((torch.tensor(x) @ w + b - torch.tensor(t)) ** 2).mean().backward()
            if name == "clipped":
                torch.nn.utils.clip_grad_norm_([w, b], 0.5)
            if name == "clipped_values":
                torch.nn.utils.clip_grad_value_([w, b], 0.2)
            optimizer.step()
            steps.append(np.concatenate([w.detach().numpy().ravel(), b.detach().numpy()]))
        found[name] = np.stack(steps)
    p = torch.zeros(1, requires_grad=True)
    for name, schedule in SCHEDULES.items():
        optimizer = torch.optim.SGD([p], 1.0)
        scheduler, rates = schedule(optimizer), []
        for _ in range(20):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        found[f"schedule/{name}"] = np.array(rates)
    optimizer = torch.optim.SGD([p], 1.0)
    plateau = _rates.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=0.3)
    rates = []
    for loss in (3, 2, 2, 2, 1, 1, 1, 1, 1):
        plateau.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    found["plateau"] = np.array(rates)
    np.savez_compressed(Path(__file__).with_name("torch_optim.npz"), **found)


if __name__ == "__main__":
    main()
