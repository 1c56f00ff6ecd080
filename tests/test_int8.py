"""Inference with bytes: compiled code is NumPy bit for bit; planted faults are seen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
import pytest

import tinygraph as tg
from compiled import execute_plan, run_python
from contractions import PLAIN, Arena, block, execute
from targets import AMX, NARROW, SMALL, WIDE, schedule
from tinygraph import models, nn
from tinygraph.graph.op import OPS
from tinygraph.ops.conv import CONV2D_INTEGER
from tinygraph.passes import quantize, rescale
from tinygraph.plan.records.contraction import Contraction, TileOperand
from tinygraph.plan.records.plan import Launch
from tinygraph.plan.records.target import Product
from tinygraph.plan.records.work import Tile
from tinygraph.plan.verify import verify_plan
from tinygraph_cpu.compilation import draft_record, inner_loop
from tinygraph_cpu.gemm import products
from tinygraph_cpu.machine import matrix_registers
from tinygraph_cpu.machine.features import detect

ALL = {"int8": (-128, 128), "uint8": (0, 256)}


def drawn(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(*ALL[dtype], shape).astype(dtype)


# -- the operators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_quantize_rounds_to_even_and_saturates(dtype):
    values = [np.nan, -np.inf, -1e9, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, 1e9, 1e30, np.inf]
    x = tg.input("x", len(values))
    program = tg.compile([x], [tg.quantize(x, 0.5, 3, dtype)])
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    whole = np.rint(np.array(values[2:-1], np.float32) / np.float32(0.5)) + 3
    want = [low, low, *np.clip(whole, low, high), high]
    np.testing.assert_array_equal(program(values)[0], np.array(want, dtype))
    np.testing.assert_array_equal(tg.run(program.graph, values)[0], np.array(want, dtype))
    np.testing.assert_array_equal(run_python(program.graph, np.float32(values))[0], want)


def test_a_dequantized_value_is_rounded_before_it_is_added_to():
    """A fused multiply-add would have other bits."""
    q = tg.input("q", 1000, dtype="int8")
    y = tg.dequantize(q, 0.1) + 0.7
    array = drawn("int8", 1000)
    want = array.astype(np.float32) * np.float32(0.1) + np.float32(0.7)
    np.testing.assert_array_equal(tg.compile([q], [y])(array)[0], want)


def test_fake_quantize_passes_gradients_within_its_reach():
    x = tg.parameter([-300.0, -0.3, 0.2, 300.0])
    y = tg.fake_quantize(x, 0.25, 128)
    np.testing.assert_array_equal(tg.run(y), np.float32([-32.0, -0.25, 0.25, 31.75]))
    np.testing.assert_array_equal(tg.run(tg.grad(tg.sum(y), [x])[0]), np.float32([0, 1, 1, 0]))


# -- contractions ----------------------------------------------------------------------------------

MATRIX = pytest.mark.skipif(not detect().matrix, reason="this processor has no AMX")
WAYS = ["native", "native:pmaddwd", "native:", "x86-64-v3", "x86-64-v2:", "twin"]


def check_product(
    way: str,
    signs: tuple[str, str],
    sizes: tuple[int, int, int],
    tile: tuple[int, int] = (3, 2),
    matrix: bool = False,
) -> None:
    (m, n, k), level = sizes, way.partition(":")[0]
    lanes = 16 if matrix else 8 if level == "twin" else detect(level).lanes
    spec = Contraction.tiled(
        tile, m, n, PLAIN, (TileOperand(dtype="int32"),), lanes, packed=True, factors=signs,
        matrix=matrix,
    )  # fmt: skip
    a, b = drawn(signs[0], m, k), drawn(signs[1], k, n, seed=1)
    blocks, width = -(-n // spec.width), spec.width
    wide = np.pad(b, ((0, 0), (0, blocks * width - n)))
    words = wide.reshape(k // 4, 4, blocks, width).transpose(2, 0, 3, 1)
    arena = Arena(a=a, b=np.ascontiguousarray(words), c=np.zeros((m, n), np.int32))
    fields = block(
        m=m, n=n, k=k // 4, row_parts=2, column_parts=1, row_group=1,
        a=arena.address("a"), a_m=k, a_k=4, b=arena.address("b"), b_j=k * width, b_k=4 * width,
    )  # fmt: skip
    execute(way, arena, spec, fields, [[arena.address("c"), 0, 0, 0, n]])
    np.testing.assert_array_equal(arena["c"], a.astype(np.int32) @ b.astype(np.int32))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signs", [("uint8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize("sizes", [(1, 1, 4), (3, 17, 8), (29, 33, 20), (8, 64, 64)])
def test_products_of_bytes_are_exact(way, signs, sizes):
    """All numbers that bytes have, tiles that sizes straddle, every instruction."""
    check_product(way, signs, sizes)


@pytest.mark.parametrize("way", [pytest.param("native", marks=MATRIX), "twin"])
@pytest.mark.parametrize("tile", [(32, 2), (16, 4), (64, 1), (25, 2), (5, 3)])
@pytest.mark.parametrize("signs", [("uint8", "int8"), ("int8", "uint8"), ("int8", "int8")])
def test_products_in_matrix_registers_are_exact(way, tile, signs):
    """Registers that rows, columns and words fill, that they do not, and that need another
    configuration for the last rows.
    """
    for sizes in ((1, 1, 4), (3, 17, 64), (29, 33, 20), (49, 70, 132), (67, 50, 192)):
        check_product(way, signs, sizes, tile, matrix=True)


def test_products_in_matrix_registers_compile_anywhere():
    """But for a processor without such registers they are refused: plans have none there."""
    spec = Contraction.tiled(
        (32, 2), 64, 64, PLAIN, (TileOperand(dtype="int32"),), 16, packed=True,
        factors=("uint8", "int8"), matrix=True,
    )  # fmt: skip
    code = inner_loop(spec, detect("sapphirerapids"))
    assert code.count("tdpbusd") == 4 and code.count("tileload") == 5
    with pytest.raises(ValueError, match="planned for another than icelake-server"):
        draft_record(spec, "kernel", detect("icelake-server"))


@pytest.mark.parametrize("images", [1, 8])
def test_long_sums_of_bytes_stay_whole(images):
    """ResNet-50's last windows: pieces of sums would need memory of another dtype."""
    way = AMX.cut(
        Product(
            1, 7 * images, 7, 512, (1, 3, 384), packed=True, across=False, longest=3,
            factors=("uint8", "int8"),
        )
    )  # fmt: skip
    assert way.matrix and way.pieces == 1


def test_the_system_gives_leave_for_matrix_registers(monkeypatch):
    flags = dict.fromkeys(matrix_registers.NEEDED, True)
    for allowed, why in ((True, ""), (False, "does not permit")):
        monkeypatch.setattr(matrix_registers, "permitted", lambda allowed=allowed: allowed)
        found = matrix_registers.refusal(flags)
        assert (why in found) if why else not found
    assert "no amx-int8" in matrix_registers.refusal(flags | {"amx-int8": False})


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (2, 0))])
@pytest.mark.parametrize("channels", [4, 6, 32])
def test_convolutions_of_bytes(padding, channels):
    """With channels that fill words, and that do not, which become plain loops."""
    x = tg.input("x", 2, 1, channels, 7, 9, dtype="uint8")
    w = drawn("int8", 1, 19, channels, 3, 2)
    attrs = {"stride": (2, 1), "padding": padding, "dilation": (1, 1)}
    y = CONV2D_INTEGER(x, tg.constant(w), **attrs)
    array = drawn("uint8", *x.shape)
    program = tg.compile([x], [y])
    assert ("contraction of" in program.dump("plan")) == (channels % 4 == 0)
    want = OPS["conv2d"].ref(array.astype(np.int64), w.astype(np.int64), **attrs)
    np.testing.assert_array_equal(program(array)[0], want)


@pytest.mark.parametrize("kernel", [(7, 9), (5, 8), (4, 4), (1, 9)])
def test_convolutions_of_bytes_with_more_taps_than_pixels(kernel):
    x, w = tg.input("x", 2, 1, 8, 7, 9, dtype="uint8"), drawn("int8", 1, 19, 8, *kernel)
    attrs = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    array = drawn("uint8", *x.shape)
    program = tg.compile([x], [CONV2D_INTEGER(x, tg.constant(w), **attrs)])
    assert "contraction of" in program.dump("plan")
    want = OPS["conv2d"].ref(array.astype(np.int64), w.astype(np.int64), **attrs)
    np.testing.assert_array_equal(program(array)[0], want)


# -- networks --------------------------------------------------------------------------------------


class Net(nn.Module):
    """Signed inputs, windows that pad, batch normalization, a residual addition, a concatenation
    of which one part is pooled, an average, groups.
    """

    def __init__(self) -> None:
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.one, self.two = nn.Conv2d(8, 16, 1), nn.Conv2d(8, 24, 3, padding=1, groups=2)
        self.back, self.fc = nn.Conv2d(40, 8, 1), nn.Linear(8 * 5 * 4, 10)
        rng = np.random.default_rng(0)
        self.norm.weight.value = rng.uniform(-1.5, 1.5, 8).astype(np.float32)
        self.norm.bias.value = rng.uniform(-0.5, 0.5, 8).astype(np.float32)

    def forward(self, x, training=False):
        x = self.norm(self.stem(x))  # below zero, too
        pooled = tg.max_pool2d(x, 3, stride=1, padding=1)
        both = tg.concat([tg.relu(self.one(x)), tg.relu(self.two(pooled))], 1)
        x = tg.relu(self.back(both) + x)
        return self.fc(tg.reshape(tg.avg_pool2d(x, 2), (x.shape[0], -1)))


def network() -> tuple[tg.Node, tg.Node, np.ndarray]:
    tg.manual_seed(0)
    x = tg.input("x", 3, 3, 10, 8)
    return x, Net()(x), np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)


def is_matrix(launch: Launch) -> bool:
    return any(isinstance(m.work, Tile) and m.work.contraction.matrix for m in launch.members)


def errors() -> float:
    """The rms error of the integer network's logits, in their deviation."""
    x, y, images = network()
    floats = tg.compile([x], [y])
    program = tg.compile([x], [y], quantize=tg.calibrate(floats, [images]))
    want, got = floats(images)[0], program(images)[0]
    return float(np.sqrt(np.mean((got - want) ** 2)) / want.std())


def test_a_network_in_bytes_has_the_bits_of_numpy(monkeypatch):
    x, y, images = network()
    ranges = tg.calibrate(tg.compile([x], [y]), [images])
    program = tg.compile([x], [y], quantize=ranges)
    graph = program.inspection.compiled.graph
    assert sum(n.op.name.endswith("_integer") for n in graph.nodes) == 5
    want = tg.run(graph, images)[0]
    for threads in (1, 2):
        monkeypatch.setattr(tg.settings, "threads", threads)
        np.testing.assert_array_equal(program(images)[0], want)
    plain = tg.compile([x], [y], quantize=ranges, without=["contract"])
    np.testing.assert_array_equal(plain(images)[0], want)
    for target in (WIDE, NARROW, SMALL, AMX):
        plan = verify_plan(schedule(graph, target=target))
        assert any(is_matrix(launch) for launch in plan.launches) == target.matrix
        np.testing.assert_array_equal(execute_plan(plan, graph, images)[0], want)


def test_weights_are_prepared_and_follow_their_parameters():
    tg.manual_seed(0)
    x, layer = tg.input("x", 2, 8), nn.Linear(8, 4)
    y, array = layer(x), np.random.default_rng(0).random((2, 8), np.float32)
    program = tg.compile([x], [y], quantize=tg.calibrate(tg.compile([x], [y]), [array]))
    before = program(array)[0]
    layer.weight.value = layer.weight.value * 2
    layer.bias.value = layer.bias.value * 2
    np.testing.assert_allclose(program(array)[0], before * 2, rtol=0.02, atol=0.01)


def test_a_layer_that_is_kept_stays_in_floats():
    x, y, images = network()
    ranges = tg.calibrate(tg.compile([x], [y]), [images])
    assert list(ranges) == ["stem", "one", "two", "back", "fc"]
    assert json.loads(json.dumps(ranges)) == ranges
    program = tg.compile([x], [y], quantize=ranges, keep=["stem", "fc"])
    graph = program.inspection.compiled.graph
    assert sum(n.op.name.endswith("_integer") for n in graph.nodes) == 3
    np.testing.assert_allclose(program(images)[0], tg.run(graph, images)[0], rtol=1e-4, atol=1e-5)
    for given in ({"quantize": {"head": ranges["fc"]}}, {"quantize": ranges, "keep": ["head"]}):
        with pytest.raises(ValueError, match="='head' is no layer; there is stem, one, two"):
            tg.compile([x], [y], **given)


def test_residual_additions_read_bytes_and_add_one_shift():
    """What a block adds to its result is stored once, as the bytes that the next layer reads."""
    tg.manual_seed(0)
    x, norms = tg.input("x", 1, 8, 6, 6), [nn.BatchNorm2d(16) for _ in range(3)]
    layers = [nn.Conv2d(8 if i == 0 else 16, 16, 3, padding=1) for i in range(3)]
    y = tg.relu(norms[0](layers[0](x)))
    for layer, norm in zip(layers[1:], norms[1:], strict=True):
        y = tg.relu(norm(layer(y)) + y)
    images = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    ranges = tg.calibrate(tg.compile([x], [y]), [images])
    program = tg.compile([x], [y], quantize=ranges)
    graph = program.inspection.compiled.graph
    np.testing.assert_array_equal(program(images)[0], tg.run(graph, images)[0])
    works = [launch.work for launch in program.inspection.compiled.plan.launches]
    first, second, _ = (w.contraction for w in works if isinstance(w, Tile))
    for tile, count in ((first, 1), (second, 2)):  # of the bytes that are read and written
        assert [o.dtype for o in tile.operands if o.rows] == ["uint8"] * count
        floats = [o for o in tile.operands if not o.rows and o.dtype == "float32"]
        assert len(floats) == 2  # a factor and a shift


def test_values_that_a_program_keeps_do_not_hinder():
    """Keys and values of a language model are state, not weights that learn."""
    tg.manual_seed(0)
    net = models.TransformerLanguageModel(32, 8, size=16, layers=1, heads=2)
    x = tg.input("x", 1, 1, dtype="int32")
    y = net(x, net.caches(batch=1), tg.constant(7, "int32"))
    token = np.array([[3]], np.int32)
    floats = tg.compile([x], [y])
    program = tg.compile([x], [y], quantize=tg.calibrate(floats, [token]))
    want, got = floats(token)[0], program(token)[0]
    assert np.abs(got - want).max() < 0.1 * np.abs(want).max()
    weight = net.parameters()[0]
    with pytest.raises(ValueError, match="has no gradient"):
        tg.compile([x], [y], quantize={}, updates=[(weight, weight * 2)])


def test_a_percentile_cuts_off_what_is_rare():
    x, layer = tg.input("x", 4, 100), nn.Linear(100, 4)
    program = tg.compile([x], [layer(x)])
    array = np.random.default_rng(0).random((4, 100), np.float32)
    array[0, 0] = 1000
    whole = tg.calibrate(program, [array])
    most = tg.calibrate(program, [array, array], percentile=99)
    (name,) = whole
    assert whole[name]["high"] == 1000 and most[name]["high"] < 2
    with pytest.raises(ValueError, match="requires a batch"):
        tg.calibrate(program, [])


def test_any_batch_size_and_one_calibration():
    tg.manual_seed(0)
    net, x = Net(), tg.input("x", None, 3, 10, 8)
    y = net(x)
    images = np.random.default_rng(1).standard_normal((3, 3, 10, 8)).astype(np.float32)
    program = tg.compile([x], [y], quantize=tg.calibrate(tg.compile([x], [y]), [images]))
    each = np.concatenate([program(images[i : i + 1])[0] for i in range(3)])
    np.testing.assert_array_equal(program(images)[0], each)


def test_a_file_of_onnx_in_qdq_form_takes_the_same_path(tmp_path):
    pytest.importorskip("onnx", reason="requires tinygraph[onnx]", exc_type=Exception)
    x, y, images = network()
    program = tg.compile([x], [y], quantize=tg.calibrate(tg.compile([x], [y]), [images]))
    tg.onnx.save(program, tmp_path / "net.onnx")
    loaded = tg.onnx.load(tmp_path / "net.onnx").compile(batch=3)
    nodes = loaded.inspection.compiled.graph.nodes
    assert sum(n.op.name.endswith("_integer") for n in nodes) == 5
    want = program(images)[0]
    np.testing.assert_allclose(loaded(images)[0], want, atol=0.02 * np.abs(want).max())


# -- planted faults --------------------------------------------------------------------------------


def zero_in_the_halo(patch: pytest.MonkeyPatch) -> None:
    module = sys.modules["tinygraph.passes.integer_products"]
    patch.setattr(module, "pad", lambda q, around, value=0: tg.pad(q, around))


def one_branch_s_scale(patch: pytest.MonkeyPatch) -> None:
    def limits(ranges):
        return {
            n: (0.0, r["high"] / (4 if n.op.name == "concat" else 1)) for n, r in ranges.items()
        }

    patch.setattr(quantize, "common_limits", limits)


def bias_not_rescaled(patch: pytest.MonkeyPatch) -> None:
    right = rescale.Rescaling.scaled

    def scaled(self, y, by, positive):
        return y if y in self.fixed else right(self, y, by, positive)

    patch.setattr(rescale.Rescaling, "scaled", scaled)


def saturation_at_127(patch: pytest.MonkeyPatch) -> None:
    right = OPS["quantize"].expr

    def expr(*, dtype):
        return right(dtype=dtype).replace("uint32(255)", "uint32(127)")

    object.__setattr__(OPS["quantize"], "expr", expr)
    patch.callback = lambda: object.__setattr__(OPS["quantize"], "expr", right)


def odd_and_even_swapped(patch: pytest.MonkeyPatch) -> None:
    right = products.StepProducts.apart

    def apart(self, word, dtype):
        halves = right(self, word, dtype)
        return halves[::-1] if dtype == "int8" else halves

    patch.setattr(products.StepProducts, "apart", apart)


@pytest.mark.parametrize("plant", [zero_in_the_halo, one_branch_s_scale, bias_not_rescaled])
def test_faults_of_passes_are_seen_in_the_error(plant: Callable, monkeypatch, tmp_path):
    right = errors()
    monkeypatch.setattr(tg.settings, "cache", tmp_path)  # what is stored is without the fault
    plant(monkeypatch)
    assert right < 0.03 < 0.06 < errors()


def test_saturation_at_127_is_seen(monkeypatch):
    saturation_at_127(monkeypatch)
    try:
        with pytest.raises(AssertionError):
            test_quantize_rounds_to_even_and_saturates("uint8")
    finally:
        monkeypatch.callback()


def test_odd_and_even_swapped_is_seen(monkeypatch):
    odd_and_even_swapped(monkeypatch)
    with pytest.raises(AssertionError):
        test_products_of_bytes_are_exact("native:pmaddwd", ("uint8", "int8"), (5, 7, 12))
