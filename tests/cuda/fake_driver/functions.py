"""The driver's functions that cuda-core and the backend call, with the parameters of cuda.h."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import c_char_p, c_float, c_int, c_uint, c_uint64, c_void_p
from typing import Any

from ptx_emulator import Kernel

from .driver import (
    FAILED,
    NAMES,
    NO_BINARY,
    NOT_SUPPORTED,
    SUCCESS,
    UNKNOWN,
    Config,
    Driver,
    DriverError,
)

MILLISECONDS = 1.0  # that anything takes between two events
KHZ = 1_000_000  # the clock's rate
MULTIPROCESSORS = 10
CLOCK_RATE, MULTIPROCESSOR_COUNT, MAJOR, MINOR = 13, 16, 75, 76  # CUdevice_attribute
KINDS = {"p": c_void_p, "i": c_int, "u": c_uint, "n": c_uint64, "s": c_char_p}
ALWAYS = ("cuInit", "cuDriverGetVersion", "cuGetErrorName", "cuGetErrorString")

FUNCTIONS: dict[str, tuple[str, Callable[..., None]]] = {}


def function(kinds: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A function by its name in cuda.h, with a letter of KINDS for each parameter."""

    def added(f: Callable[..., None]) -> Callable[..., None]:
        FUNCTIONS[f.__name__] = (kinds, f)
        return f

    return added


def put(address: int, value: int, kind: Any = c_uint64) -> None:
    kind.from_address(address).value = value


def in_c(driver: Driver, name: str) -> Any:
    """A function as C calls it."""
    kinds, f = FUNCTIONS[name]

    def called(*arguments: Any) -> int:
        if driver.dead and name not in ALWAYS:
            return FAILED
        try:
            f(driver, *arguments)
        except DriverError as error:
            return int(error.args[0])
        except BaseException as error:
            print(f"fake driver: {name}{arguments}: {error!r}", file=sys.stderr)
            return UNKNOWN
        return SUCCESS

    return ctypes.CFUNCTYPE(c_int, *(KINDS[k] for k in kinds))(called)


def missing(name: str) -> Any:
    """A function that nobody has written, which says so when it is called."""

    def called() -> int:
        print(f"fake driver: {name} is not written", file=sys.stderr)
        return NOT_SUPPORTED

    return ctypes.CFUNCTYPE(c_int)(called)


# ---------------------------------------------------------------------- the device


@function("u")
def cuInit(driver: Driver, flags: int) -> None:
    pass


@function("p")
def cuDriverGetVersion(driver: Driver, out: int) -> None:
    put(out, 13000, c_int)


@function("p")
def cuDeviceGetCount(driver: Driver, out: int) -> None:
    put(out, driver.devices, c_int)


@function("pi")
def cuDeviceGet(driver: Driver, out: int, number: int) -> None:
    put(out, 0, c_int)


@function("pii")
def cuDeviceGetAttribute(driver: Driver, out: int, attribute: int, device: int) -> None:
    known = {CLOCK_RATE: KHZ, MULTIPROCESSOR_COUNT: MULTIPROCESSORS}
    known |= dict(zip((MAJOR, MINOR), driver.capability, strict=True))
    put(out, known.get(attribute, 1), c_int)


@function("pii")
def cuDeviceGetName(driver: Driver, out: int, size: int, device: int) -> None:
    name = b"a fake GPU\0"
    ctypes.memmove(out, name, min(size, len(name)))


@function("pi")
def cuDevicePrimaryCtxRetain(driver: Driver, out: int, device: int) -> None:
    put(out, driver.handle())


@function("i")
def cuDevicePrimaryCtxRelease(driver: Driver, device: int) -> None:
    pass


@function("p")
def cuCtxSetCurrent(driver: Driver, context: int) -> None:
    driver.context = context


@function("p")
def cuCtxGetCurrent(driver: Driver, out: int) -> None:
    put(out, driver.context or 0)


@function("p")
def cuCtxGetDevice(driver: Driver, out: int) -> None:
    put(out, 0, c_int)


@function("ip")
def cuGetErrorName(driver: Driver, code: int, out: int) -> None:
    put(out, ctypes.cast(NAMES.get(code, b"CUDA_ERROR_UNKNOWN"), c_void_p).value or 0)


@function("ip")
def cuGetErrorString(driver: Driver, code: int, out: int) -> None:
    cuGetErrorName(driver, code, out)


# ---------------------------------------------------------------------- streams and events


@function("pp")
def cuCtxGetStreamPriorityRange(driver: Driver, least: int, greatest: int) -> None:
    for out in (least, greatest):
        put(out, 0, c_int)


@function("pui")
def cuStreamCreateWithPriority(driver: Driver, out: int, flags: int, priority: int) -> None:
    put(out, driver.handle())


@function("p")
def cuStreamDestroy_v2(driver: Driver, stream: int) -> None:
    pass


@function("p")
def cuStreamSynchronize(driver: Driver, stream: int) -> None:
    driver.log.append("sync")
    driver.finish()


@function("ppu")
def cuStreamWaitEvent(driver: Driver, stream: int, event: int, flags: int) -> None:
    driver.log.append("wait for event")


@function("pu")
def cuEventCreate(driver: Driver, out: int, flags: int) -> None:
    put(out, driver.handle([0]))


@function("pp")
def cuEventRecord(driver: Driver, event: int, stream: int) -> None:
    driver.log.append("event")
    driver.ticks += 1
    driver.things[event][0] = driver.ticks


@function("ppp")
def cuEventElapsedTime(driver: Driver, out: int, first: int, last: int) -> None:
    ticks = driver.things[last][0] - driver.things[first][0]
    put(out, MILLISECONDS * ticks, c_float)


@function("p")
def cuEventDestroy_v2(driver: Driver, event: int) -> None:
    pass


# ---------------------------------------------------------------------- memory


@function("pn")
def cuMemAllocHost_v2(driver: Driver, out: int, size: int) -> None:
    memory = (ctypes.c_uint8 * size)()
    address = ctypes.addressof(memory)
    driver.host[address] = memory
    put(out, address)


@function("p")
def cuMemFreeHost(driver: Driver, address: int) -> None:
    del driver.host[address]


@function("pi")
def cuDeviceGetMemPool(driver: Driver, out: int, device: int) -> None:
    put(out, driver.handle())


@function("pip")
def cuMemPoolGetAttribute(driver: Driver, pool: int, attribute: int, out: int) -> None:
    put(out, 0)


@function("pip")
def cuMemPoolSetAttribute(driver: Driver, pool: int, attribute: int, value: int) -> None:
    pass


@function("pnpp")
def cuMemAllocFromPoolAsync(driver: Driver, out: int, size: int, pool: int, stream: int) -> None:
    driver.log.append("allocate")
    put(out, driver.memory.allocate(size))


@function("pp")
def cuMemFreeAsync(driver: Driver, address: int, stream: int) -> None:
    driver.add("free", lambda: driver.free(address))


@function("ppnp")
def cuMemcpyAsync(driver: Driver, target: int, source: int, size: int, stream: int) -> None:
    driver.copy(target, source, size)


# ---------------------------------------------------------------------- kernels


@function("ppppuppu")
def cuLibraryLoadData(driver: Driver, out: int, code: int, *options: Any) -> None:
    machine = ctypes.string_at(code, 4) == b"\x7fELF"
    if machine and driver.refuses:
        raise DriverError(NO_BINARY)
    driver.log.append("load machine code" if machine else "load PTX")
    put(out, driver.handle())


@function("p")
def cuLibraryUnload(driver: Driver, library: int) -> None:
    pass


@function("pps")
def cuLibraryGetKernel(driver: Driver, out: int, library: int, name: bytes) -> None:
    ptx, text = driver.compiled(name.decode())
    put(out, driver.handle(Kernel(ptx, name.decode(), text)))


@function("pppp")
def cuLaunchKernelEx(driver: Driver, config: int, kernel: int, arguments: int, extra: int) -> None:
    driver.launch(Config.from_address(config), driver.things[kernel], arguments)


# ---------------------------------------------------------------------- graphs


@function("pi")
def cuStreamBeginCapture_v2(driver: Driver, stream: int, mode: int) -> None:
    driver.graph = driver.handle([])


@function("pp")
def cuStreamIsCapturing(driver: Driver, stream: int, out: int) -> None:
    put(out, driver.graph != 0, c_int)


@function("ppppppp")
def cuStreamGetCaptureInfo_v3(
    driver: Driver, stream: int, status: int, number: int, graph: int, *nodes: int
) -> None:
    put(status, driver.graph != 0, c_int)
    if graph:
        put(graph, driver.graph)


@function("pp")
def cuStreamEndCapture(driver: Driver, stream: int, out: int) -> None:
    put(out, driver.graph)
    driver.graph = 0


@function("pppuu")
def cuUserObjectCreate(driver: Driver, out: int, *others: int) -> None:
    put(out, driver.handle())  # it lives as long as the process


@function("ppuu")
def cuGraphRetainUserObject(driver: Driver, graph: int, *others: int) -> None:
    pass


@function("ppu")
def cuGraphReleaseUserObject(driver: Driver, graph: int, *others: int) -> None:
    pass


@function("ppp")
def cuGraphInstantiateWithParams(driver: Driver, out: int, graph: int, parameters: int) -> None:
    put(parameters + 24, 0, c_int)  # result_out, after flags, stream and node
    put(out, graph)


@function("pp")
def cuGraphUpload(driver: Driver, graph: int, stream: int) -> None:
    driver.log.append("upload graph")


@function("pp")
def cuGraphLaunch(driver: Driver, graph: int, stream: int) -> None:
    for name, work in driver.things[graph]:
        driver.add(f"replay: {name}", work)


@function("p")
def cuGraphDestroy(driver: Driver, graph: int) -> None:
    pass


@function("p")
def cuGraphExecDestroy(driver: Driver, graph: int) -> None:
    pass
