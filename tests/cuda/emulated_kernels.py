"""Kernels for the tests of the emulator: text, parameter types, threads of a block."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    text: str
    signature: tuple[str, ...]
    threads: int = 128


F32, I32, U32 = "float32*", "int32*", "uint32"

KERNELS = {
    "saxpy": Source(
        """
def saxpy(a, x, y, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        y[i] = a * x[i] + y[i]
""",
        ("float32", F32, F32, U32),
    ),
    "grid_stride": Source(
        """
def grid_stride(x, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    while i < n:
        x[i] = x[i] * x[i]
        i = uint32(i + cuda.gridDim.x * cuda.blockDim.x)
""",
        (F32, U32),
    ),
    "tiled": Source(
        """
def tiled(a, b, c, m, n, k):
    tile_a = cuda.shared.array((16, 16), float32)
    tile_b = cuda.shared.array((16, 16), float32)
    x = uint32(cuda.threadIdx.x)
    y = uint32(cuda.threadIdx.y)
    row = uint32(cuda.blockIdx.y * uint32(16) + y)
    column = uint32(cuda.blockIdx.x * uint32(16) + x)
    total = float32(0)
    first = uint32(0)
    while first < k:
        inside = row < m and uint32(first + x) < k
        tile_a[y, x] = a[uint32(row * k + first + x)] if inside else float32(0)
        inside = uint32(first + y) < k and column < n
        tile_b[y, x] = b[uint32((first + y) * n + column)] if inside else float32(0)
        cuda.syncthreads()
        for j in range(16):
            total += tile_a[y, j] * tile_b[j, x]
        cuda.syncthreads()
        first = uint32(first + uint32(16))
    if row < m and column < n:
        c[uint32(row * n + column)] = total
""",
        (F32, F32, F32, U32, U32, U32),
        256,
    ),
    "reduce": Source(
        """
def reduce(x, y, n):
    partial = cuda.shared.array(32, float32)
    t = uint32(cuda.threadIdx.x)
    value = float32(0)
    i = uint32(t)
    while i < n:
        value += x[uint32(cuda.blockIdx.x * n + i)]
        i = uint32(i + cuda.blockDim.x)
    step = 16
    while step > 0:
        value += cuda.shfl_xor_sync(0xFFFFFFFF, value, step)
        step >>= 1
    if t % uint32(32) == 0:
        partial[t // uint32(32)] = value
    cuda.syncthreads()
    if t < 32:
        value = partial[t] if t < cuda.blockDim.x // uint32(32) else float32(0)
        step = 16
        while step > 0:
            value += cuda.shfl_down_sync(0xFFFFFFFF, value, step)
            step >>= 1
        if t == 0:
            y[cuda.blockIdx.x] = value
""",
        (F32, F32, U32),
        256,
    ),
    "histogram": Source(
        """
def histogram(x, counts, order, total, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        atomic_add(counts, x[i], int32(1))
        order[atomic_add(counts, 10, int32(1))] = i
        atomic_max(counts, 11, x[i])
        atomic_add(total, 0, float32(x[i]))
""",
        (I32, I32, "uint32*", F32, U32),
    ),
    "double": Source(
        """
def double(x, y, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        y[i] = math.exp(x[i]) * math.sin(x[i]) + math.sqrt(abs(x[i])) / (float64(1) + x[i] * x[i])
""",
        ("float64*", "float64*", U32),
    ),
    "integers": Source(
        """
def integers(a, b, wide, out, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        out[i] = a[i] // b[i]
        out[i + n] = a[i] % b[i]
        out[i + 2 * n] = int32(uint32(a[i]) // uint32(7))
        out[i + 3 * n] = (a[i] << 3) ^ (a[i] >> 2)
        out[i + 4 * n] = int32(cuda.popc(a[i])) + int32(cuda.clz(a[i]))
        out[i + 4 * n] += int32(cuda.ffs(a[i]))
        out[i + 4 * n] += int32(cuda.brev(uint32(b[i])) >> uint32(5))
        out[i + 5 * n] = int32(float32(a[i]) * float32(1e-3)) + abs(b[i]) + min(a[i], b[i])
        wide[i] = (wide[i] * 2654435761) // 1000003 + (wide[i] >> 7) % 12345
""",
        (I32, I32, "int64*", I32, U32),
    ),
    "edges": Source(
        """
def edges(x, y, n):
    i = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        left = x[i - 1] if i >= 1 else float32(-1)
        right = x[i + 1] if i + 1 < n else float32(-2)
        total = float32(0)
        for k in range(i % 5):
            if x[i] > float32(0):
                total += x[i]
            elif k == 3:
                break
            else:
                total -= float32(k)
        y[i] = left + right * float32(3) + total
""",
        (F32, F32, "int32"),
    ),
    "warp": Source(
        """
def warp(x, y, counts):
    t = uint32(cuda.threadIdx.x)
    v = x[t]
    y[t] = cuda.shfl_up_sync(0xFFFFFFFF, v, 1)
    y[t + uint32(64)] = cuda.shfl_sync(0xFFFFFFFF, v, 5)
    y[t + uint32(128)] = cuda.shfl_xor_sync(0xFFFFFFFF, v, 3)
    y[t + uint32(192)] = cuda.shfl_down_sync(0xFFFFFFFF, v, 2)
    ballot = cuda.ballot_sync(0xFFFFFFFF, v > float32(0))
    above = cuda.any_sync(0xFFFFFFFF, v > float32(2))
    inside = cuda.all_sync(0xFFFFFFFF, v > float32(-9))
    positive = cuda.syncthreads_count(int32(v > float32(0)))
    counts[t] = int32(ballot)
    counts[t + uint32(64)] = int32(above) + int32(2) * int32(inside)
    counts[t + uint32(128)] = int32(positive)
""",
        (F32, F32, I32),
        64,
    ),
    "vector": Source(
        """
def vector(x, y, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        a, b, c, d = load4(x, uint32(i * uint32(4)))
        store4(y, uint32(i * uint32(4)), d, c, b, a)
""",
        (F32, F32, U32),
    ),
    "functions": Source(
        """
def functions(x, y, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        v = x[i]
        y[i] = exp(v)
        y[i + n] = log(v)
        y[i + uint32(2) * n] = tanh(v)
        y[i + uint32(3) * n] = erf(v)
        y[i + uint32(4) * n] = sigmoid(v)
        y[i + uint32(5) * n] = expm1(v)
        y[i + uint32(6) * n] = power(v, float32(1.5))
        y[i + uint32(7) * n] = maximum(v, float32(0))
        y[i + uint32(8) * n] = rint(v)
""",
        (F32, F32, U32),
    ),
    "uniform": Source(
        """
def uniform(y, k0, k1, n):
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < n:
        y[i] = random_uniform(k0, k1, i, uint32(7))
""",
        (F32, U32, U32, U32),
    ),
}
