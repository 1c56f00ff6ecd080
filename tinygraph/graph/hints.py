"""What people type who come from NumPy, PyTorch, Keras or JAX, and what it is called here.

A name that is missing raises AttributeError with the name to write instead, a keyword that is not
taken raises TypeError with the one that is.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from .dtype import DTYPES

FUNCTIONS = {
    "acos": "tg.arccos", "acosh": "tg.arccosh", "asin": "tg.arcsin", "asinh": "tg.arcsinh",
    "atan": "tg.arctan", "atan2": "tg.arctan2", "atanh": "tg.arctanh",
    "adaptive_avg_pool1d": "tg.mean over equal parts, or nn.AdaptiveAvgPool2d",
    "amax": "tg.max", "amin": "tg.min", "bmm": "tg.matmul, or a @ b",
    "cat": "tg.concat(parts, axis)", "concatenate": "tg.concat(parts, axis)",
    "checkpointing": "nothing: tg.compile decides what is computed again",
    "chunk": "tg.split(x, parts, axis)", "clamp": "tg.clip(x, min, max)",
    "cond": "tg.where(condition, a, b), which computes both",
    "dense": "nn.Linear", "divide": "tg.div, or a / b", "fit": "tg.train.fit",
    "float16": "dtype='float32'; a dtype is written as text",
    "gather": "tg.take_along_axis(x, indices, axis)",
    "hessian": "tg.grad of a sum over tg.grad's results",
    "index_select": "tg.take(x, indices, axis)", "is_nan": "tg.isnan", "is_inf": "tg.isinf",
    "jacobian": "tg.grad of one result at a time", "jit": "tg.compile(inputs, outputs)",
    "jvp": "tg.grad twice: the gradient of a product with a vector",
    "linalg": "tg.norm, tg.matmul, tg.outer, tg.diagonal",
    "logsigmoid": "tg.log_sigmoid", "map": "tg.scan, or one more axis",
    "masked_fill": "tg.where(mask, value, x)", "max_pool1d": "tg.max_pool(x, ...)",
    "max_pool3d": "tg.max_pool(x, ...)", "avg_pool1d": "tg.avg_pool(x, ...)",
    "avg_pool3d": "tg.avg_pool(x, ...)", "multiply": "tg.mul, or a * b", "negative": "tg.neg",
    "no_grad": "tg.stop_gradient(x); nothing has a gradient that tg.grad is not asked for",
    "permute": "tg.transpose(x, axes)", "power": "tg.pow, or a ** b",
    "rand": "tg.random_uniform(shape)", "randn": "tg.random_normal(shape)",
    "random": "tg.random_normal, tg.random_uniform, tg.bernoulli, tg.randint",
    "remainder": "tg.mod, or a % b", "scatter_nd": "tg.scatter", "subtract": "tg.sub, or a - b",
    "swish": "tg.silu, the same function",
    "Tensor": "tg.Node, or tg.constant(array)", "tensor": "tg.constant(array)",
    "array": "tg.constant(array)", "asarray": "tg.constant(array)",
    "true_divide": "tg.div, or a / b", "unfold": "tg.conv2d with a weight of ones and zeros",
    "unsqueeze": "tg.expand_dims(x, axis)", "upsample": "tg.interpolate(x, scale_factor=2)",
    "value_and_grad": "[loss, *tg.grad(loss, parameters)] as outputs of tg.compile",
    "vjp": "tg.grad of tg.sum(y * v)",
    "vmap": "one more axis: functions broadcast", "while_loop": "tg.scan, of a fixed length",
}  # fmt: skip
FUNCTIONS |= {name: f"dtype={name!r}, as text" for name in DTYPES}

LAYERS = {
    "BCELoss": "nn.binary_cross_entropy(probabilities, target)",
    "BCEWithLogitsLoss": "nn.binary_cross_entropy_with_logits(logits, target)",
    "CTCLoss": "nn.ctc_loss", "CosineSimilarity": "nn.cosine_similarity(a, b)",
    "CrossEntropyLoss": "nn.cross_entropy(logits, labels)", "Dense": "nn.Linear",
    "HuberLoss": "nn.huber_loss", "KLDivLoss": "nn.kl_div", "L1Loss": "nn.l1_loss",
    "MSELoss": "nn.mse_loss(prediction, target)", "NLLLoss": "nn.nll_loss",
    "SmoothL1Loss": "nn.smooth_l1_loss",
    "ModuleDict": "self.layers = {...}: a dict of modules as an attribute",
    "ModuleList": "self.layers = [...]: a list of modules as an attribute",
    "MultiheadAttention": "nn.MultiHeadAttention(embed_dim, num_heads), whose batch comes first",
    "Parameter": "tg.parameter(array)", "ParameterList": "a list of tg.parameter as an attribute",
    "BatchNorm": "nn.BatchNorm1d, nn.BatchNorm2d or nn.BatchNorm3d",
    "InstanceNorm": "nn.InstanceNorm1d, nn.InstanceNorm2d or nn.InstanceNorm3d",
    "Swish": "nn.SiLU", "Transformer": "nn.TransformerEncoder, nn.TransformerDecoderLayer",
    "Unfold": "nn.Conv2d with a weight of ones and zeros",
    "utils": "optim.clip_by_global_norm, or clip= of an optimizer",
}  # fmt: skip

OPTIMIZERS = {
    "Adadelta": "optim.RMSprop or optim.Adagrad", "AdaDelta": "optim.RMSprop or optim.Adagrad",
    "LBFGS": "optim.Adam; a line search needs one program for each step",
    "RMSProp": "optim.RMSprop", "Nadam": "optim.NAdam",
    "lr_scheduler": "a schedule in place of the rate: optim.Adam(optim.cosine(0.1, steps))",
    "zero_grad": "nothing: gradients are nodes, and none is kept",
}  # fmt: skip

NODES = {
    "backward": "tg.grad(loss, parameters), or optimizer.updates(loss, parameters)",
    "contiguous": "nothing: the compiler chooses how a value is stored",
    "cpu": "the array that a program returns", "cuda": "tg.compile(..., backend='cuda')",
    "detach": "tg.stop_gradient(x)", "dim": "x.ndim", "eval": "tg.run(x, ...) or tg.compile",
    "exp": "tg.exp(x)", "expand": "tg.broadcast_to(x, shape)", "float": "x.astype('float32')",
    "grad": "tg.grad(loss, [x])", "item": "the array that tg.run or a program returns",
    "log": "tg.log(x)", "long": "x.astype('int64')", "matmul": "x @ y", "norm": "tg.norm(x)",
    "numpy": "the array that tg.run or a program returns", "permute": "x.transpose(axes)",
    "relu": "tg.relu(x)", "requires_grad": "net.freeze(), or what optimizer.updates is given",
    "sigmoid": "tg.sigmoid(x)", "softmax": "tg.softmax(x, axis)", "sqrt": "tg.sqrt(x)",
    "tanh": "tg.tanh(x)", "to": "x.astype(dtype); tg.compile(..., backend=) chooses the device",
    "tolist": "the array that tg.run or a program returns", "unsqueeze": "tg.expand_dims(x, axis)",
    "value": "tg.run(x, ...): only parameters have a value", "view": "x.reshape(shape)",
}  # fmt: skip

MODULES = {
    "apply": "a loop over net.named_modules()", "cpu": "tg.compile(..., backend='cpu')",
    "cuda": "tg.compile(..., backend='cuda')", "double": "dtype='float64' of its inputs",
    "eval": "net(x): a call is for inference unless it says net(x, training=True)",
    "fit": "train.fit", "half": "float32: there is no dtype of 16 bits yet",
    "modules": "net.named_modules(), or net.children()",
    "register_buffer": "a parameter whose state.trainable is False, as an attribute",
    "register_parameter": "self.name = tg.parameter(array)",
    "requires_grad_": "net.freeze(), net.freeze(False)",
    "to": "tg.compile(..., backend='cuda')",
    "train": "net(x, training=True) where the graph of the training step is built",
    "zero_grad": "nothing: gradients are nodes, and none is kept",
}  # fmt: skip

DATA = {
    "AddGaussianNoise": "data.GaussianNoise()", "Compose": "a list: transform=[...] of Batches",
    "CutOut": "data.Cutout()", "MixUp": "data.Mixup()", "RandomErasing": "data.Cutout()",
    "RandomHorizontalFlip": "data.RandomFlip()", "RandomVerticalFlip": "data.RandomFlip(axis=2)",
    "default_collate": "data.stack", "pad_sequence": "data.Pad, as collate= of Batches",
    "IterableDataset": "data.Stream(source, batch_size=...)",
    "DataLoader": "data.Batches(*arrays, batch_size=...)",
    "Dataset": "anything with len and [i]: data.Batches(mine, batch_size=...)",
    "TensorDataset": "data.Batches(*arrays, batch_size=...)",
    "cifar10": "arrays of your own; data.digits() comes with the package",
    "fashion_mnist": "data.load_idx(path) of its files; data.digits() comes with the package",
    "mnist": "data.digits(), 10,000 digits of MNIST; data.load_idx(path) of all its files",
    "random_split": "a[:n], a[n:] of arrays", "train_test_split": "a[:n], a[n:] of arrays",
}  # fmt: skip

TRAINING = {
    "CSVLogger": "train.CSVLog(path)", "LearningRateScheduler": "a schedule in place of the rate",
    "ModelCheckpoint": "train.Checkpoint(path, net, optimizer)",
    "ReduceLROnPlateau": "optim.Plateau, stepped by a function among the callbacks",
    "SummaryWriter": "train.TensorBoard(folder)", "TensorBoardLogger": "train.TensorBoard(folder)",
    "Trainer": "train.fit(step, batches, epochs)", "plot": "history.learning_curve(path)",
}  # fmt: skip

METRICS = {
    "accuracy_score": "metrics.accuracy", "auc": "metrics.roc_auc", "auroc": "metrics.roc_auc",
    "f1": "metrics.f1_score", "mae": "metrics.mean_absolute_error",
    "mean_squared_error": "np.mean((predictions - targets) ** 2)",
    "r2": "metrics.r2_score", "roc_auc_score": "metrics.roc_auc",
    "top_k_accuracy_score": "metrics.top_k_accuracy", "topk": "metrics.top_k_accuracy",
}  # fmt: skip

KEYWORDS = {
    "dim": "axis", "dims": "axis", "keepdim": "keepdims", "unbiased": "ddof=1 or ddof=0",
    "correction": "ddof", "input": "x", "axes": "axis", "a_min": "min", "a_max": "max",
    "size": "shape",
}  # fmt: skip


def missing(owner: str, name: str, table: dict[str, str], known: Iterable[str]) -> NoReturn:
    """
    Raises:
        AttributeError: always; it says what is meant, or what is spelled alike.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    if name in table:
        raise AttributeError(f"no {owner}.{name}: {table[name]}")
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, 1, 0.75)
    hint = f"; did you mean {owner}.{lower[close[0]]}?" if close else ""
    raise AttributeError(f"no {owner}.{name}{hint}")


def spelled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which names the keyword that is meant where it is given another library's, and
    what it takes where it is given more.
    """

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        try:
            return function(*args, **given)
        except TypeError as error:
            within = error.__traceback__ and error.__traceback__.tb_next
            wrong = [k for k in given if k in KEYWORDS and f"'{k}'" in str(error)]
            many = re.search(r"takes .*positional argument", str(error))
            if within or not (wrong or many):
                raise
            taken = inspect.signature(function).parameters
            said = ", ".join(f"{KEYWORDS[k]} in place of {k}" for k in wrong) if wrong else (
                f"({', '.join(taken)}), got {len(args)} arguments without a name"
            )  # fmt: skip
        raise TypeError(f"tg.{function.__name__} takes {said}")

    return call
