"""training_memory: what it says a training step needs, beside what tracemalloc counts of one, and by hand."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn, ops, optim
from minicnn import device as devices
from minicnn.device import generator
from minicnn.errors import ArgumentError, ShapeError
from minicnn.function import install, remove
from minicnn.kernels.cpu import footprint, memory, threads
from minicnn.kernels.window import Window
from minicnn.nn.memory import _Ledger, training_memory

MB = 1e6
THREADS = 2
# Weights and activations weigh differently in each; sizes for which convolutions go through blocks, and Winograd's.
NETWORKS = {
    "lenet5": (64, 1, 32, 32),
    "resnet20_cifar": (24, 3, 32, 32),
    "mobilenet_v2": (4, 3, 64, 64),
    "squeezenet1_1": (4, 3, 128, 128),
    "resnet18": (2, 3, 96, 96),
    "Growing": (4, 3, 24, 24),
}


class Growing(nn.Module):
    """A block as DenseNet's: what is computed joins all that was there, most often without a copy."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(32 + 16 * i) for i in range(16))
        self.layers = nn.ModuleList(nn.Conv2d(32 + 16 * i, 16, 3, padding=1) for i in range(16))

    def forward(self, x):
        x = self.first(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = ops.concat([x, layer(norm(x, activation="relu"))], axis=1)
        return x.mean((2, 3))


@pytest.fixture
def counted(monkeypatch):
    """All memory is NumPy's, which tells tracemalloc, and none is left over from earlier steps."""
    monkeypatch.setattr(memory, "LARGE", 1 << 62)
    monkeypatch.setattr(threads, "_threads", THREADS)
    monkeypatch.setattr(threads._local, "memory", None, raising=False)


@pytest.mark.on_host
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_takes_what_was_predicted(name, counted):
    """Within 10 %, as is promised."""
    minicnn.manual_seed(0)
    model = (Growing() if name == "Growing" else models.create_model(name)).train()
    shape = NETWORKS[name]
    predicted = training_memory(model, shape)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    labels = np.arange(shape[0]) % 10
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    loss = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss(model(Tensor(images)), labels).backward()
        optimizer.step()

    step()  # momentum is there, and what is compiled
    optimizer.zero_grad()
    threads._local.memory = None
    gc.collect()
    tracemalloc.start()
    try:
        step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    measured = peak + predicted.state_bytes + predicted.batch_bytes
    assert 0.9 * measured < predicted.peak_bytes < 1.1 * measured, (
        f"{predicted.peak_bytes / MB:.1f} MB predicted, {measured / MB:.1f} measured"
    )
    assert predicted.state_bytes == sum(p.nbytes for p in (*model.parameters(), *model.buffers()))


def chain():
    return nn.Sequential(nn.Linear(10, 50), nn.Sigmoid(), nn.Linear(50, 20), nn.Sigmoid(), nn.Linear(20, 4))


def test_by_hand():
    """Batch 8, in numbers of 4 bytes. Most is alive in the backward of the first Sigmoid."""
    with minicnn.use("reference"):
        found = training_memory(chain(), (8, 10))
    layers = {1: 10 * 50 + 50, 2: 50 * 20 + 20, 3: 20 * 4 + 4}
    assert found.state_bytes == found.all_gradient_bytes == 4 * sum(layers.values())
    assert found.gradient_bytes == 4 * (layers[3] + layers[2])
    x, wide, output = 8 * 10, 8 * 50, 8 * 4
    assert found.batch_bytes == 4 * x
    sigmoid = 4 * wide  # what it keeps, y; the gradient that has come; its slope y·(1 − y); and the gradient that goes
    held = 2 * output  # by whoever called the network, and by whoever called backward
    assert found.activation_bytes == 4 * (x + sigmoid + held)


def network():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(16 * 8 * 8, 10),
    )  # fmt: skip


def test_the_model_stays_as_it_is():
    model = network().eval()
    model[1].train()
    model[1].num_batches_tracked.copy_(np.array(5))
    for parameter in model.parameters():
        parameter.grad = Tensor(np.ones(parameter.shape, np.float32))
    calls = []
    model[0].register_forward_hook(lambda *given: calls.append(given))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    drawn = generator.calls
    training_memory(model, (4, 3, 8, 8))
    assert generator.calls == drawn and calls == []
    assert all((parameter.grad.numpy() == 1).all() for parameter in model.parameters())
    assert all((value.numpy() == before[name]).all() for name, value in model.state_dict().items())
    assert [module.training for module in model] == [False, True, *[False] * 4]
    model(Tensor(np.zeros((4, 3, 8, 8), np.float32)))
    assert len(calls) == 1, "hooks are there again"


def test_it_grows_with_the_batch():
    with minicnn.use("reference"):
        small, large = (training_memory(network(), (n, 3, 8, 8)) for n in (8, 64))
    assert large.state_bytes == small.state_bytes
    assert 7 * small.activation_bytes < large.activation_bytes <= 8 * small.activation_bytes


def test_float64_takes_twice_as_much():
    with minicnn.use("reference"):
        assert (
            training_memory(chain().to("float64"), (8, 10)).peak_bytes
            == 2 * training_memory(chain(), (8, 10)).peak_bytes
        )


def test_checkpoints_take_less():
    class Segments(nn.Module):
        def __init__(self, saving):
            super().__init__()
            self.saving = saving
            layers = [nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(16)]
            self.parts = nn.ModuleList(nn.Sequential(*layers[i : i + 4]) for i in range(0, 16, 4))

        def forward(self, x):
            for part in self.parts:
                x = minicnn.checkpoint(part, x) if self.saving else part(x)
            return x

    with minicnn.use("reference"):
        plain, saving = (training_memory(Segments(choice), (512, 64)) for choice in (False, True))
    layer = 4 * 512 * 64
    assert plain.activation_bytes >= 16 * layer
    # the inputs of four segments, the inside of one and two gradients there, and what goes out, with its gradient
    assert 8 * layer <= saving.activation_bytes <= 12 * layer


def test_frozen_parameters_have_no_gradients():
    model = network()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    found = training_memory(model, (4, 3, 8, 8))
    assert found.all_gradient_bytes == found.state_bytes - 4 * (16 * 27 + 16 + 2 * 16) - 8
    model.requires_grad_(False)
    with pytest.raises(ArgumentError, match="no trainable parameter"):
        training_memory(model, (4, 3, 8, 8))


def test_networks_with_several_outputs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(10, 10), nn.Linear(10, 1000)

        def forward(self, x):
            return {"one": self.first(x), "others": [self.second(x), x]}

    found = training_memory(Twice(), (8, 10))
    assert found.gradient_bytes == found.all_gradient_bytes == 4 * (110 + 11_000)


def test_what_the_summary_says():
    model = network()
    text = str(model.summary((64, 3, 8, 8))).splitlines()
    memory_line = str(training_memory(model, (64, 3, 8, 8))).splitlines()
    assert text[-2:] == memory_line and memory_line[0].startswith("training step, batch 64: about ")
    model.requires_grad_(False)
    assert str(model.summary((3, 8, 8))).splitlines()[-1].startswith("training step, batch 1: impossible, since ")
    small = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4))
    assert "impossible" in str(small.summary((4, 1, 1)))  # one value a channel
    with pytest.raises(ShapeError):
        _ = small.summary((4, 1, 1)).training


# --- kernels/cpu/footprint.py -----------------------------------------------------------------------------------------


def test_images_in_blocks():
    assert footprint.image_bytes((2, 17, 5, 3), np.float32) == 4 * 2 * 32 * 5 * 3
    assert footprint.image_bytes((2, 17, 5, 3), np.float64) == 8 * 2 * 17 * 5 * 3
    assert footprint.image_bytes((2, 3, 5, 3), np.float32) == 4 * 2 * 3 * 5 * 3
    assert footprint.image_bytes((2, 17, 1, 1), np.float32) == 4 * 2 * 17


def test_nothing_is_counted_that_is_gone():
    """Also of what stands in one room, which lives as long as its last tenant."""
    ledger, room = _Ledger([], 2, footprint), 4 * 2 * 128 * 5 * 5
    with devices.shapes_only():
        install(ledger)
        try:
            images = [ops.relu(Tensor(np.ones((2, channels, 5, 5), np.float32))) for channels in (32, 16, 16)]
            alone = ledger.live
            first = ops.concat(images[:2], axis=1)
            grown = ops.concat([first, images[2]], axis=1)  # moves, and takes room for as much again
            again = ops.concat([grown, images[2]], axis=1)
            assert ledger.live == alone + 4 * 2 * 48 * 5 * 5 + room
            del grown, first
            gc.collect()
            assert ledger.live == alone + room and again.shape[1] == 80
            del again, images
            gc.collect()
        finally:
            remove(ledger)
    assert ledger.live == 0 and ledger.rooms == {}


def test_room_for_what_concat_joins():
    first, few, odd = (4, 32, 9, 9), (4, 16, 9, 9), (4, 12, 9, 9)
    assert footprint.room_for([first, few], None) == 48, "a copy without room"
    assert footprint.room_for([first, few], (32, 32)) == 96, "a copy with room for as much again"
    assert footprint.room_for([first, few], (32, 47)) == 96
    assert footprint.room_for([first, few], (32, 48)) == 0
    assert footprint.room_for([first, few], (48, 96)) == 96, "the room belongs to another"
    assert footprint.room_for([first, odd, few], (32, 96)) == 60, "blocks that begin anywhere are copied"
    assert footprint.room_for([first, few, odd], (32, 96)) == 0


def test_working_memory_of_a_convolution(counted):
    window, planes = Window((3, 3), (1, 1), ((1, 1), (1, 1))), (8, 64, 56, 56)
    w = (64, 64, 3, 3)
    weights = 4 * 64 * 64 * 9

    def needed(kernel, window=window, dtype=np.float32):
        y = (8, 64, *window.output_size((56, 56)))
        return footprint.convolution_bytes(kernel, planes, w, y, window, 1, dtype)

    assert needed("conv2d") == needed("conv_transpose2d") == 5 * weights
    assert needed("conv2d", window=Window((3, 3), (2, 2), ((1, 1), (1, 1)))) == weights
    assert needed("conv2d", dtype=np.float64) == 2 * weights
    assert needed("conv2d_relu_max_pool2d") == 5 * weights + 4 * 8 * 64 * 56 * 56
    assert needed("conv2d_weight") == 5 * weights + THREADS * 1_200_000
    assert footprint.scratch_bytes() == THREADS << 19
