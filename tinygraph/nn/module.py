"""Module: parameters and modules as attributes, found by name; called on nodes, it builds graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..graph import hints
from ..graph.ir import Node, Parameter
from ..graph.origins import scope
from .assign import assign
from .watch import WATCHED, Called

if TYPE_CHECKING:
    from .summary import Summary


@dataclass(frozen=True, slots=True)
class _Call:
    """The module that is being called: its path, and whether for training."""

    path: str
    training: bool


_OUTSIDE = _Call("", False)
_CALLING: ContextVar[_Call] = ContextVar("module", default=_OUTSIDE)


class Module:
    """The base of layers and networks.

    Assign parameters, modules, or lists and dicts of them to attributes and write
    ``forward(self, x, training=False)``. Names are dotted paths of attributes, as in PyTorch
    (``blocks.0.conv.weight``), and parameters are named by them. Lists and dicts that hold some
    are kept in a form that cannot change, so that names stay. Parameters that are not
    ``state.trainable`` when they are assigned are buffers: part of ``state_dict``, not of
    ``parameters``.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         self.fc = nn.Linear(4, 2)
        ...     def forward(self, x, training=False):
        ...         return tg.relu(self.fc(x))
        >>> list(Net().named_parameters())
        ['fc.weight', 'fc.bias']
    """

    path = ""  # from the outermost module; set by its owner
    ignored_state: tuple[str, ...] = ()  # names in other libraries' state that mean nothing here
    forward: Callable[..., Any]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray) and isinstance(vars(self).get(name), Parameter):
            raise TypeError(f"{name} is a parameter: assign to {name}.value")
        members = list(_members(name, value))
        object.__setattr__(self, name, _unchanging(value) if members else value)
        for path, member in members:
            if isinstance(member, Parameter) and not member.state.trainable:
                self.__dict__.setdefault("_buffers", {})[path] = None
        if members:
            self._set_paths()

    def _set_paths(self) -> None:
        """Names what is below; seen from further outside, names grow longer, else they stay."""
        for path, module in self.named_modules(self.path):
            if not module.path or path.endswith(f".{module.path}"):
                module.__dict__["path"] = path
            for name, p in module._own_state():
                full = f"{path}.{name}" if path else name
                if not p.name or full.endswith(f".{p.name}"):
                    p.state.name = full

    def __call__(self, *inputs: Any, training: bool | None = None, **options: Any) -> Any:
        """The nodes that ``forward`` builds, in the scope of this module's name.

        ``training`` is by default that of the module which makes the call, outside of one False.
        """
        outer = _CALLING.get()
        training = outer.training if training is None else training
        local = self.path.removeprefix(f"{outer.path}.")
        token = _CALLING.set(_Call(self.path, training))
        try:
            with scope(local) if local else nullcontext():
                return self._watched(inputs, {"training": training, **options})
        finally:
            _CALLING.reset(token)

    def _watched(self, inputs: Any, options: dict[str, Any]) -> Any:
        """What ``forward`` returns; the call is noted where somebody wants to know of it."""
        if (watched := WATCHED.get()) is None:
            return self.forward(*inputs, **options)
        calls, depth = watched
        calls.append(call := Called(self, depth, (inputs, options)))
        token = WATCHED.set((calls, depth + 1))
        try:
            call.outputs = self.forward(*inputs, **options)
        finally:
            WATCHED.reset(token)
        return call.outputs

    def summary(self, *inputs: Any, training: bool = False, **options: Any) -> Summary:
        """A table of layers: output shapes, parameters, multiply-adds, bytes; print it.

        Args:
            inputs: nodes, arrays, or shapes of float32 inputs, as a call takes them; an open size
                counts as 1.
            training: whether the call is for training.
            options: of ``forward``.

        Raises:
            TypeError: no inputs.

        Example:
            >>> net = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
            >>> print(net.summary((64, 784)))
            layer  kind        output      parameters  multiply-adds  bytes
                   Sequential  f32[64,10]      25,450      1,626,112  2,560
              0    Linear      f32[64,32]      25,120      1,605,632  8,192
              1    ReLU        f32[64,32]           0              0  8,192
              2    Linear      f32[64,10]         330         20,480  2,560
            25,450 parameters, 101,800 bytes; 1,626,112 multiply-adds
        """
        if not inputs:
            raise TypeError(
                "summary requires what the network is called with: net.summary(x), where x is a "
                "node, an array or a shape"
            )
        from .summary import summarize  # which knows modules

        return summarize(self, inputs, {"training": training, **options})

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules among the attributes, with their names, in order.

        Example:
            >>> [name for name, _ in nn.Sequential(a=nn.ReLU(), b=nn.Tanh()).children()]
            ['a', 'b']
        """
        for name, value in vars(self).items():
            yield from ((n, m) for n, m in _members(name, value) if isinstance(m, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names; this one's is empty.

        Args:
            prefix: is put before the names.

        Example:
            >>> [name for name, _ in nn.Sequential(nn.Sequential(nn.ReLU())).named_modules()]
            ['', '0', '0.0']
        """
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def _own_state(self) -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            yield from ((n, p) for n, p in _members(name, value) if isinstance(p, Parameter))

    def _named_state(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters and buffers; one that is shared comes under each of its names."""
        for path, module in self.named_modules():
            for name, p in module._own_state():
                yield (f"{path}.{name}" if path else name), p

    def named_state(self) -> dict[str, Parameter]:
        """Parameters and buffers, by their dotted names.

        Example:
            >>> sorted(nn.Linear(4, 2).named_state())
            ['bias', 'weight']
        """
        return dict(self._named_state())

    def named_parameters(self) -> dict[str, Parameter]:
        """The trainable parameters by dotted name; a shared one once, under its first.

        Example:
            >>> list(nn.Linear(4, 2).named_parameters())
            ['weight', 'bias']
        """
        return {path: p for path, p in _first_names(self._named_state()) if p.state.trainable}

    def parameters(self) -> list[Parameter]:
        """The trainable parameters.

        Example:
            >>> [p.shape for p in nn.Linear(4, 2).parameters()]
            [(2, 4), (2,)]
        """
        return list(self.named_parameters().values())

    def named_buffers(self) -> dict[str, Parameter]:
        """State that no optimizer changes, such as running statistics, by dotted name.

        Example:
            >>> list(nn.BatchNorm2d(8).named_buffers())
            ['running_mean', 'running_var']
        """
        return {
            f"{path}.{name}" if path else name: p
            for path, module in self.named_modules()
            for name, p in module._own_state()
            if name in vars(module).get("_buffers", {})
        }

    def freeze(self, frozen: bool = True) -> Self:
        """Takes the parameters below out of ``parameters()``, or puts them back; never buffers.

        Running statistics of batch norms still move in training, as in PyTorch: call what is to
        stay as it is with ``training=False``.

        Args:
            frozen: False puts them back.

        Example:
            >>> net = nn.Sequential(body=nn.Linear(4, 4), head=nn.Linear(4, 2))
            >>> _ = net.body.freeze()
            >>> list(net.named_parameters())
            ['head.weight', 'head.bias']
        """
        for _, module in self.named_modules():
            for name, p in module._own_state():
                if name not in vars(module).get("_buffers", {}):
                    p.state.trainable = not frozen
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all values by dotted name, buffers included.

        Example:
            >>> {name: value.shape for name, value in nn.Linear(4, 2).state_dict().items()}
            {'weight': (2, 4), 'bias': (2,)}
        """
        return {path: p.state.copied() for path, p in self._named_state()}

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None:
        """Sets all values, or none if names or shapes do not fit.

        Args:
            values: arrays by dotted name.
            strict: False accepts missing and unexpected names.

        Raises:
            ValueError: lists every missing, unexpected or misshapen name.

        Example:
            >>> a, b = nn.Linear(4, 2), nn.Linear(4, 2)
            >>> a.load_state_dict(b.state_dict())
        """
        ignored = {
            f"{path}.{name}" if path else name
            for path, module in self.named_modules()
            for name in module.ignored_state
        }
        assign(
            self.named_state(), {k: v for k, v in values.items() if k not in ignored}, strict
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            hints.missing(type(self).__name__, name, hints.MODULES, dir(type(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: _changing(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            held = name != "_buffers" and any(True for _ in _members(name, value))
            vars(self)[name] = _unchanging(value) if held else value

    def extra_repr(self) -> str:
        """The text in the parentheses of ``repr``.

        Example:
            >>> nn.Linear(4, 2).extra_repr()
            '4, 2, bias=True'
        """
        return ""

    def __repr__(self) -> str:
        rows = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + (")" if not rows else "\n  " + "\n  ".join(rows) + "\n)")

    def _repr_html_(self) -> str:
        from .notebook import module_html

        return module_html(self)


class Sequential(Module):
    """Modules one after the other, named by number, or by keyword: ``Sequential(conv=...)``.

    Args:
        modules, named: each takes what the one before returns.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> net(tg.zeros((16, 4))).shape
        (16, 2)
    """

    def __init__(self, /, *modules: Module, **named: Module):
        for name, module in (*((str(i), m) for i, m in enumerate(modules)), *named.items()):
            if isinstance(module, (list, tuple)):
                raise TypeError("Sequential takes modules one by one: Sequential(*modules)")
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential takes modules, got {module!r} as {name!r}; a function such as "
                    "tg.relu has a layer, nn.ReLU()"
                )
            setattr(self, name, module)

    def forward(self, x: Node, training: bool = False) -> Node:
        for _, module in self.children():
            x = module(x, training=training)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (m for _, m in self.children())

    def __getitem__(self, index: int) -> Module:
        return [m for _, m in self.children()][index]

    def __len__(self) -> int:
        return sum(1 for _ in self.children())


def _members(name: str, value: Any) -> Iterator[tuple[str, Module | Parameter]]:
    if isinstance(value, (Module, Parameter)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from _members(f"{name}.{i}", v)
    elif isinstance(value, Mapping):
        for key, v in value.items():
            yield from _members(f"{name}.{key}", v)


def _unchanging(value: Any) -> Any:
    """Lists as tuples and dicts as their read-only views, at any depth, where they hold members."""
    if isinstance(value, (list, tuple)):
        return tuple(_unchanging(v) for v in value)
    if isinstance(value, dict):
        return MappingProxyType({key: _unchanging(v) for key, v in value.items()})
    return value


def _changing(value: Any) -> Any:
    """Read-only views of dicts as dicts, at any depth: they can be copied and pickled."""
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_changing(v) for v in value)
    if isinstance(value, MappingProxyType):
        return {key: _changing(v) for key, v in value.items()}
    return value


def _first_names(named: Iterator[tuple[str, Parameter]]) -> Iterator[tuple[str, Parameter]]:
    seen: set[Parameter] = set()
    for path, p in named:
        if p not in seen:
            seen.add(p)
            yield path, p
