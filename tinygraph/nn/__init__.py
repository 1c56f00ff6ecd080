"""Layers, losses and initial values: sugar that builds graphs."""

from ..ops import cross_entropy, l2_penalty, mse_loss
from . import init
from .attention import KeyValueCache, MultiHeadAttention, multi_head_attention
from .functional import (
    ELU,
    GELU,
    AdaptiveAvgPool2d,
    AvgPool2d,
    CenterWeightedPool2d,
    Flatten,
    GlobalAvgPool,
    L2Pool2d,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from .linear import Conv1d, Conv2d, ConvTranspose2d, Embedding, Linear, linear
from .module import Module, Sequential
from .norm import BatchNorm1d, BatchNorm2d, Dropout, Identity, LayerNorm, LocalResponseNorm
from .random import manual_seed
from .recurrent import LSTM, RNN, LSTMCell, RNNCell
from .transformer import TransformerEncoder, TransformerEncoderLayer

__all__ = [
    "ELU",
    "GELU",
    "LSTM",
    "RNN",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "CenterWeightedPool2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "Identity",
    "KeyValueCache",
    "L2Pool2d",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "RNNCell",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "cross_entropy",
    "init",
    "l2_penalty",
    "linear",
    "manual_seed",
    "mse_loss",
    "multi_head_attention",
]
