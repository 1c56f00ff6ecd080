"""What users see of what they hold: a network's table, and a text for everything."""

from __future__ import annotations

import xml.dom.minidom

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, models, nn, optim, train
from tinygraph.compile import compile


def rows(summary):
    return {row.name: row for row in summary.rows}


def test_numbers_of_known_networks():
    """Those that torchvision and the papers give."""
    lenet = models.lenet5().summary((1, 1, 28, 28))
    assert lenet.parameters == 61_706 and lenet.rows[0].multiply_adds == 416_520
    assert rows(lenet)["conv1"].multiply_adds == 28 * 28 * 6 * 25
    assert rows(lenet)["conv1"].bytes == 4 * 28 * 28 * 6
    resnet = models.resnet18().summary((1, 3, 224, 224))
    assert resnet.parameters == 11_689_512 and resnet.buffers == 9_600
    assert resnet.rows[0].multiply_adds == 1_814_073_344
    assert sum(r.parameters for r in resnet.rows if r.depth == 1) == resnet.parameters


def test_loops_and_attention_count_every_step():
    lstm = nn.LSTM(4, 8, 2).summary((7, 3, 4))
    assert lstm.rows[0].multiply_adds == 7 * 3 * 4 * 8 * (4 + 8 + 8 + 8)
    assert lstm.rows[0].output == "f32[7,3,8], f32[2,3,8], f32[2,3,8]"
    attention = nn.MultiHeadAttention(16, 4).summary((2, 5, 16))
    assert attention.rows[0].multiply_adds == 4 * 2 * 5 * 16 * 16 + 2 * 2 * 5 * 5 * 16


def test_inputs_are_nodes_arrays_and_shapes():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    given = [tg.input("x", None, 3, 4), np.zeros((1, 3, 4)), (1, 3, 4)]
    assert len({str(net.summary(x)) for x in given}) == 1
    words = nn.Embedding(7, 3).summary(np.zeros((2, 5), int))
    assert words.rows[0].output == "f32[2,5,3]"
    with pytest.raises(TypeError, match=r"requires what the network is called with"):
        net.summary()


def test_a_layer_that_is_called_twice_counts_once():
    class Twice(nn.Module):
        def __init__(self):
            self.inner, self.scale = nn.Linear(3, 3), tg.parameter(np.ones(3))

        def forward(self, x, training=False):
            return self.inner(self.inner(x)) * self.scale

    found = Twice().summary((1, 3))
    assert [row.parameters for row in found.rows] == [15, 12, 0]
    assert [row.multiply_adds for row in found.rows] == [18, 9, 9]
    net = Twice()
    net.inner.freeze()
    assert net.summary((1, 3)).parameters == 15


def test_its_page_for_notebooks_is_folded():
    page = models.resnet18().summary((1, 3, 32, 32))._repr_html_()
    text = page.replace("<details open", "<details open='open'")
    document = xml.dom.minidom.parseString(f"<x>{text}</x>")
    details = document.getElementsByTagName("details")
    assert sum(d.hasAttribute("open") for d in details) == 1 < len(details)


def test_rich_prints_a_table():
    rich = pytest.importorskip("rich.console")
    console = rich.Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(models.lenet5().summary((1, 1, 28, 28)))
    assert "416,520 multiply-adds" in console.export_text()


NET = models.lenet5()
IMAGE = tg.input("image", None, 1, 28, 28)
PROGRAM = compile([IMAGE], [tg.relu(IMAGE)], name="rectify")
SHOWN = {
    "<input image: f32[n,1,28,28]>": lambda: IMAGE,
    "<parameter conv1.weight: f32[6,1,5,5]>": lambda: NET.conv1.weight,
    "<parameter step: i32[], not trainable>": lambda: optim.SGD(0.1).step,
    "<conv2d(image, conv1.weight, padding=2): f32[n,6,28,28], test_summary.py:": lambda: tg.conv2d(
        IMAGE, NET.conv1.weight, padding=2
    ),
    "<y = relu(image): f32[n,1,28,28], test_summary.py:": lambda: tg.relu(IMAGE).named("y"),
    "<graph rectify(image: f32[n,1,28,28]) -> f32[n,1,28,28], 2 nodes>": lambda: PROGRAM.graph,
    "<program rectify(image: f32[n,1,28,28])": lambda: PROGRAM,
    "SGD(0.1, momentum=0.9)": lambda: optim.SGD(0.1, momentum=0.9),
    "SGD(0.1, nesterov=True, momentum=0.5)": lambda: optim.SGD(lr=0.1, nesterov=True, momentum=0.5),
    "AdamW(0.001)": optim.AdamW,
    "Adam(cosine(0.001, 100, warmup=5))": lambda: optim.Adam(optim.cosine(1e-3, 100, warmup=5)),
    "EMA(10 parameters, decay=0.999)": lambda: optim.EMA(NET),
    "Accumulated(SGD(0.1), 4)": lambda: optim.Accumulated(optim.SGD(0.1), 4),
    "Plateau(SGD(0.1), factor=0.1, patience=10)": lambda: optim.Plateau(optim.SGD(0.1)),
    "Batches(3 examples, batch_size=2: 1 batches)": lambda: data.Batches(np.zeros(3), batch_size=2),
    "RandomAffine(arrays=(0,), shift=2.0": data.RandomAffine,
    "epoch  loss  seconds": train.History,
    "Linear(4, 2, bias=True)": lambda: nn.Linear(4, 2),
}


@pytest.mark.parametrize("text", SHOWN)
def test_everything_says_what_it_is(text):
    shown = repr(SHOWN[text]())
    assert shown.startswith(text) and " object at 0x" not in shown and len(shown) < 300


def test_schedules_say_what_they_are():
    makes = {
        "step_decay": (0.1, 5), "exponential": (0.1, 0.9), "cosine": (0.1, 5), "linear": (0.1, 5),
        "polynomial": (0.1, 5), "piecewise": ([5], [0.1, 0.2]), "restarts": (0.1, 5),
        "one_cycle": (0.1, 50), "warmup": (0.1, 5), "join": ([0.1, 0.2], [5]),
    }  # fmt: skip
    for name, given in makes.items():
        assert repr(getattr(optim, name)(*given)) == f"{name}({', '.join(map(repr, given))})"


def test_a_rate_that_was_changed_is_shown():
    optimizer = optim.SGD(lr=0.1)
    optimizer.lr.value = 0.025
    assert repr(optimizer) == "SGD(0.025)"


def test_a_profile_is_its_table():
    profile = PROGRAM.profile(np.zeros((1, 1, 28, 28), np.float32), repeat=1)
    assert repr(profile) == str(profile)


def test_accumulated_gradients_are_saved():
    p = tg.parameter([1.0, 2.0], "p")
    some, other = (optim.Accumulated(optim.SGD(0.1, momentum=0.9), 2) for _ in range(2))
    step = tg.compile([], [], updates=some.updates(tg.sum(p * p), [p]))
    other.updates(tg.sum(p * p), [p])
    step()
    other.load_state_dict(some.state_dict())
    for name, value in some.state_dict().items():
        assert (other.state_dict()[name] == value).all()
    with pytest.raises(ValueError):
        other.load_state_dict({})


def test_a_program_whose_batch_is_open_is_shown_before_its_first_call():
    x = tg.input("x", None, 3)
    program = compile([x], [tg.relu(x)], name="rectify")
    assert "bind(n)" in str(program) and "relu" in program._repr_markdown_()
    assert "<svg" in program._repr_html_()
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    image = tg.input("image", None, 1, 3, 3)
    loss = nn.cross_entropy(net(image, training=True), tg.input("y", None, dtype="int32"))
    assert (
        "<svg" in loss._repr_html_() and "<svg" in tg.grad(loss, net.parameters())[0]._repr_html_()
    )
    sequence = tg.input("sequence", 5, None, 4)
    assert "<svg" in nn.GRU(4, 3)(sequence)[0]._repr_html_()
    program(np.zeros((2, 3), np.float32))
    assert "bind(n)" not in str(program) and "<svg" in program._repr_html_()
