"""A reader of pickles that executes nothing: values, dictionaries, and calls of known functions.

``pickle`` itself can be kept from calling functions, but not from taking any amount of memory or
time for some hundred bytes: a place in its memo at 2^31, or a tuple doubled 60 times whose hash is
asked for. Here a pickle is taken apart by ``pickletools``, and whatever a file of tensors does not
need is an error. Time and memory are linear in the length of the file.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
NAMED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
KEYS = (str, int, float, bool, type(None))


class PickleReader:
    """Reads one pickle after the other from a file.

    Args:
        names: what stands for (module, name); functions among them may be called.
        persistent: the value of a persistent identifier.
    """

    def __init__(
        self,
        file: BytesIO,
        names: Mapping[tuple[str, str], Any],
        persistent: Callable[[Any], Any],
    ):
        self.file, self.names, self.persistent = file, names, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The next pickle.

        Raises:
            ValueError: it is damaged, or names or does what a file of tensors needs not.
            LookupError: it takes what is not there.
        """
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(self.file):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("it has no end")

    def step(self, name: str, argument: Any) -> None:
        """Does what one opcode says."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "BINSTRING" | "SHORT_BINSTRING":  # of Python 2
                stack.append(argument.encode("latin-1").decode())
            case _ if name in VALUES:
                stack.append(argument)
            case _ if name in NAMED:
                stack.append(NAMED[name]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self.popped(int(name[-1]))))
            case "TUPLE" | "LIST":
                stack.append((tuple if name == "TUPLE" else list)(self.marked()))
            case "DICT":
                stack.append(paired(self.marked()))
            case "APPEND" | "APPENDS":
                items = self.popped(1) if name == "APPEND" else self.marked()
                self.top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self.popped(2) if name == "SETITEM" else self.marked()
                self.top(dict).update(paired(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(self.found(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(self.found(*self.popped(2)))
            case "REDUCE":
                stack.append(self.called(*self.popped(2)))
            case "BUILD":  # attributes of a dictionary, such as versions of layers: not needed
                self.popped(1)
                self.top(dict)
            case "BINPERSID":
                stack.append(self.persistent(stack.pop()))
            case _:
                raise ValueError(f"it has the opcode {name}, which no file of tensors needs")

    def popped(self, count: int) -> list[Any]:
        """The last values of the stack, in order."""
        if count > len(self.stack):
            raise IndexError("it takes more values than there are")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def marked(self) -> list[Any]:
        """The values since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type) -> Any:
        """The last value, which is of this kind."""
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"it changes a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def found(self, module: Any, name: Any) -> Any:
        """What stands for a name."""
        if (key := (str_of(module), str_of(name))) not in self.names:
            raise ValueError(
                f"it names {module}.{name}, which is not executed: only files of tensors are read, "
                "such as torch.save(net.state_dict(), path) writes"
            )
        return self.names[key]

    def called(self, function: Any, arguments: Any) -> Any:
        """The result of one of the known functions."""
        if not callable(function) or not isinstance(arguments, tuple):
            raise ValueError(f"it calls a {type(function).__name__}")
        return function(*arguments)


def str_of(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"it names a function by a {type(value).__name__}")
    return value


def paired(items: list[Any]) -> dict[Any, Any]:
    """A dictionary of keys and values in turns. Keys are plain values, whose hashes are quick."""
    if len(items) % 2:
        raise ValueError("it has a key without a value")
    for key in items[::2]:
        if not isinstance(key, KEYS):
            raise ValueError(f"it has a {type(key).__name__} as a key")
    return dict(zip(items[::2], items[1::2], strict=True))
