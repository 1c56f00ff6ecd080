"""Train LeNet-5 on handwritten digits and show what the compiler did; or read digits from pictures.

The settings were chosen on the last 1,000 of the 8,000 digits for training; the 2,000 held back
decide nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .. import checkpoint, models, nn, optim
from .. import distributed as dist
from ..compile import compile
from ..compiler.program import Program
from ..data import Batches, Labelled, RandomAffine, digits, read_digit
from ..graph.ir import Node
from ..graph.op import input
from ..ops import softmax
from ..passes import Update
from ..pictures import gallery, save
from ..train import Evaluation, History, evaluate, fit

EPOCHS, BATCH, MANY = 30, 64, 500
MOST = 64  # mistakes that are drawn
WARP = RandomAffine(shift=2, rotate=10, scale=0.1, shear=0.1)
SHARDS = 4
OUTPUT = "lenet5.safetensors" if importlib.util.find_spec("safetensors") else "lenet5.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default {EPOCHS}")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and warps")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(OUTPUT),
        metavar="FILE",
        help=f".safetensors or .npz, where the weights go; default {OUTPUT}",
    )
    distributed = parser.add_argument_group(
        "on several ranks", "as in: mpiexec -n 4 python -m tinygraph demo --distributed"
    )
    distributed.add_argument(
        "--distributed", action="store_true", help="share each batch out among all ranks"
    )
    distributed.add_argument(
        "--shards", type=int, default=SHARDS, help=f"of each batch; default {SHARDS}"
    )
    distributed.add_argument(
        "--stop", type=int, metavar="EPOCH", help="stop after this epoch, to resume later"
    )
    distributed.add_argument(
        "--resume", type=Path, metavar="FILE", help="continue from the --output of an earlier run"
    )
    distributed.add_argument(
        "--digest", action="store_true", help="print a digest of all that was trained"
    )
    parser.add_argument(
        "--predict",
        type=Path,
        nargs="+",
        metavar="PICTURE",
        help="read a digit from each picture file, with the weights of an earlier run",
    )


def main(arguments: argparse.Namespace) -> None:
    try:
        if arguments.predict:
            read_pictures(arguments.predict, arguments.output)
        elif arguments.distributed:
            demonstrate_ranks(arguments)
        else:
            demonstrate(arguments.epochs, arguments.seed, arguments.output)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"python -m tinygraph demo: {error}")


def demonstrate(epochs: int, seed: int, output: Path) -> None:
    """Compiles, shows the compiler's work, trains, tests and saves the weights."""
    if epochs < 1:
        raise ValueError(f"--epochs requires a positive number, got {epochs}")
    check_output(output)
    training, held_back = digits()
    nn.manual_seed(seed)
    net = models.lenet5()
    batches = Batches(*training, batch_size=BATCH, seed=seed, transform=WARP)

    start = time.perf_counter()
    step = training_step(net, epochs * len(batches))
    predict = classifier(net, MANY)
    compiled = time.perf_counter() - start
    print(f"The classifier as it was written\n\n{predict.dump('graph')}\n")
    print(f"The classifier after the passes\n\n{predict.dump()}\n")
    print(f"Compiled in {compiled:.1f} s to generated modules that can be read")
    for program in (step, predict):
        print(f"  {program.source_path}\n    {program}")

    weights = sum(p.type.size for p in net.parameters())
    print(f"\nLeNet-5 with {weights:,} parameters learns {len(training.labels):,} digits")
    start = time.perf_counter()
    read = lambda: {"accuracy": evaluate(predict, *held_back).accuracy}  # noqa: E731
    history = fit(step, batches, epochs, validation=read)
    print(f"trained in {time.perf_counter() - start:.1f} s\n")
    found = evaluate(predict, *held_back)
    print(f"The digits held back: {found}\n")
    checkpoint.save(output, net)
    print(f"weights         {output}")
    for name, path in draw(history, found, held_back, output.parent / "pictures").items():
        print(f"{name:15} {path}")
    print("\nTo read a digit from a picture file: python -m tinygraph demo --predict picture.png")
    print(f"{found.accuracy:.2%} of the {len(held_back.labels):,} digits held back are read right")


def draw(history: History, found: Evaluation, digits: Labelled, folder: Path) -> dict[str, Path]:
    """The learning curve, the confusion matrix and the mistakes as pictures; their files."""
    wrong = np.flatnonzero(found.predicted != digits.labels)[:MOST]
    captions = [f"{digits.labels[i]} as {found.predicted[i]}" for i in wrong]
    mistakes = list(zip(captions, digits.images[wrong, 0], strict=True))
    title = "What they are, and as what they are read"
    return {
        "learning curve": history.learning_curve(folder / "learning_curve.svg"),
        "confusion": found.save_svg(folder / "confusion_matrix.svg"),
        "mistakes": save(folder / "mistakes.svg", gallery(mistakes, 8, zoom=3, title=title)),
    }


def demonstrate_ranks(arguments: argparse.Namespace) -> None:
    """Trains on all ranks, and saves what training continues from after each epoch."""
    check_output(arguments.output)
    (images, labels), held_back = digits()
    nn.manual_seed(arguments.seed)
    net, shards, first = models.lenet5(), arguments.shards, dist.rank() == 0
    batches = dist.ShardedBatches(
        images, labels, batch_size=BATCH, shards=shards, seed=arguments.seed, transform=WARP
    )
    loss, optimizer, updates, inputs = training(net, None, arguments.epochs * len(batches))
    step = dist.data_parallel(inputs, [loss], updates=updates, shards=shards)
    done = 0
    if arguments.resume:
        done = int(checkpoint.load(arguments.resume, net, optimizer)["epoch"])
    if first:
        print(f"{dist.size()} ranks, {shards} shards of each batch of {BATCH}")
    for epoch in range(done, min(arguments.stop or arguments.epochs, arguments.epochs)):
        fit(step, batches, epoch + 1, first=epoch, show=first)
        checkpoint.save(arguments.output, net, optimizer, epoch=epoch + 1)
    found = evaluate(classifier(net, MANY), *held_back)
    if first:
        print(f"{found.accuracy:.2%} of the digits held back are read right")
        if arguments.digest:
            print(f"digest {digest({**net.state_dict(), **optimizer.state_dict()})}")


def digest(values: Mapping[str, np.ndarray]) -> str:
    """16 hexadecimal digits that stand for all bits of these arrays."""
    content = hashlib.sha256()
    for name in sorted(values):
        content.update(name.encode() + values[name].tobytes())
    return content.hexdigest()[:16]


def check_output(path: Path) -> None:
    """Raises ValueError now rather than after the training."""
    if path.suffix not in (".npz", Path(OUTPUT).suffix):
        raise ValueError(
            f"--output requires a .npz file, or .safetensors with that package; got {path.name}"
        )
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--output: there is no folder {path.parent}")


def training_step(net: nn.Module, steps: int) -> Program:
    """(images, labels) -> loss, and one step of momentum under a rate that ends after ``steps``."""
    loss, _, updates, inputs = training(net, BATCH, steps)
    return compile(inputs, [loss], updates=updates, name="train")


def training(
    net: nn.Module, batch: int | None, steps: int
) -> tuple[Node, optim.Optimizer, list[Update], list[Node]]:
    """The loss of a batch, the optimizer, its updates, and the inputs: images and labels."""
    images = input("images", batch, 1, 28, 28)
    labels = input("labels", batch, dtype="int32")
    loss = nn.cross_entropy(net(images, training=True), labels)
    rate = optim.cosine(0.05, steps, warmup=steps // 20)
    optimizer = optim.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return loss, optimizer, optimizer.updates(loss, net.parameters()), [images, labels]


def classifier(net: nn.Module, batch: int) -> Program:
    """Images -> the probability of each digit [batch, 10]."""
    images = input("images", batch, 1, 28, 28)
    return compile([images], [softmax(net(images))], name="predict")


def read_pictures(pictures: Sequence[Path], weights: Path) -> None:
    """Prints the digit in each picture, and how sure that is."""
    if not weights.exists():
        raise ValueError(f"there is no {weights}: train first, without --predict")
    net = models.lenet5()
    checkpoint.load(weights, net)
    predict = classifier(net, 1)
    for path in pictures:
        (probabilities,) = predict(read_digit(path)[None])
        best = np.argsort(probabilities[0])[::-1]
        first, second = (f"{digit} ({probabilities[0, digit]:.1%})" for digit in best[:2])
        print(f"{path}: {first}, else {second}")
