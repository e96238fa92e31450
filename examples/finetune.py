"""Does it help to have seen ImageNet? A pretrained network learns two classes from five images of each, beside the same
network from scratch.

    pip install "minicnn[pretrained]" scikit-image
    python examples/finetune.py                         100 faces and 100 other patches, which scikit-image brings along
    python examples/finetune.py --folder my_photos      my_photos/CLASS/*.jpg, one folder for each class

Both have the same budget: the same steps, images and batch order, and as many learning rates to choose from, of which
each takes the one that is best on a validation set that is used for nothing else. Then both are trained anew on five
images of each class, once for every seed, each time with other images, and judged on all images that were neither
trained nor validated on. What is printed is the margin with its spread over the seeds, whatever it is.

The pretrained network is fine-tuned as one does with few images: the early stages are frozen (--freeze), and behind
them each stage learns more slowly than the one after it (--decay): edges are edges everywhere. Its batch norms keep the
statistics of ImageNet, which ten images cannot better. From scratch, nothing is frozen, all layers learn equally fast,
and the statistics are measured when training is over.
"""

import argparse
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minicnn
import models
from minicnn import Tensor, no_grad
from minicnn.errors import DataError, MissingPackageError
from minicnn.formats import prepare, read_image
from minicnn.nn import BatchNorm2d, CrossEntropyLoss, Module
from minicnn.optim import Adam
from minicnn.train import teaching_errors

RATES = (3e-4, 1e-3, 3e-3)  # of the head; both networks choose among them
PER_CLASS, VALIDATION = 5, 10  # images of each class to train on, and to choose the rate on


class Images(NamedTuple):
    """inputs (N, 3, size, size) as the network sees them, labels (N,)."""

    inputs: np.ndarray
    labels: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="images, in a folder for each class; default: scikit-image's faces")
    parser.add_argument("--model", default="efficientnet_lite0", help="default: efficientnet_lite0")
    parser.add_argument("--weights", default="imagenet", help="a weight file; default: those that come as a package")
    parser.add_argument("--size", type=int, default=64, help="height and width of what the network sees; default: 64")
    parser.add_argument("--freeze", metavar="STAGE", default="features.2", help='up to here; "" for nothing')
    parser.add_argument(
        "--decay", type=float, default=0.5, help="learning rate of a stage, as a part of the next one's"
    )
    parser.add_argument("--steps", type=int, default=25, help="of training; default: 25")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each, with other images; default: 5")
    args = parser.parse_args()

    images = from_folder(args) if args.folder else faces(args)
    validation, rest = split(images, VALIDATION, seed=0)
    scores = {}
    for kind in ("pretrained", "from scratch"):
        tuning, _ = split(rest, PER_CLASS, seed=0)
        accuracies = {rate: trained(kind, tuning, validation, rate, 0, args) for rate in RATES}
        rate = max(RATES, key=lambda rate: accuracies[rate])
        scores[kind] = np.array([
            trained(kind, *split(rest, PER_CLASS, seed), rate, seed, args) for seed in range(1, args.seeds + 1)
        ])  # fmt: skip
        mean, spread = scores[kind].mean(), scores[kind].std(ddof=1) if args.seeds > 1 else 0.0
        print(f"{kind:<13} {mean:.1%} ± {spread:.1%} of the test images right (learning rate {rate:g})", flush=True)
    margin = scores["pretrained"] - scores["from scratch"]
    spread = margin.std(ddof=1) if args.seeds > 1 else 0.0
    print(f"margin        {margin.mean():+.1%} ± {spread:.1%}, mean and standard deviation of {args.seeds} seeds")


def trained(kind: str, train: Images, test: Images, rate: float, seed: int, args: argparse.Namespace) -> float:
    """Train a network, and give its accuracy on the test images."""
    minicnn.manual_seed(seed)
    classes = int(train.labels.max()) + 1
    if kind == "pretrained":
        network = models.create_model(args.model, classes, weights=args.weights).freeze(args.freeze or None)
        for module in network.modules():
            if isinstance(module, BatchNorm2d):
                module.freeze()
        decay = args.decay
    else:
        network, decay = models.create_model(args.model, classes), 1.0
    stages = list(network.parameters_by_stage().values())
    groups = [
        {"params": [p for p in stage if p.requires_grad], "lr": rate * decay ** (len(stages) - 1 - number)}
        for number, stage in enumerate(stages)
    ]
    optimizer = Adam([group for group in groups if group["params"]], lr=rate)
    loss, order = CrossEntropyLoss(), np.random.default_rng(seed)
    network.train()
    for _ in range(args.steps):
        flipped = order.random(len(train.inputs)) < 0.5  # a mirrored face is a face
        x = np.where(flipped[:, None, None, None], train.inputs[..., ::-1], train.inputs)
        optimizer.zero_grad()
        loss(network(Tensor(x)), train.labels).backward()
        optimizer.step()
    with no_grad():
        measure_batch_norm(network, train.inputs)
        network.eval()
        logits = np.concatenate([network(Tensor(part)).numpy() for part in np.array_split(test.inputs, 8)])
    return float((logits.argmax(axis=1) == test.labels).mean())


def measure_batch_norm(network: Module, inputs: np.ndarray) -> None:
    """Statistics of the weights as they are now: the running ones still remember how training began."""
    for module in network.modules():
        if isinstance(module, BatchNorm2d) and not module.frozen:
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches
    network(Tensor(inputs))


def split(images: Images, per_class: int, seed: int) -> tuple[Images, Images]:
    """So many images of each class, drawn at random, and all the others."""
    order = np.random.default_rng(seed).permutation(len(images.labels))
    chosen = np.zeros(len(order), bool)
    for label in np.unique(images.labels):
        chosen[order[images.labels[order] == label][:per_class]] = True
    return Images(images.inputs[chosen], images.labels[chosen]), Images(images.inputs[~chosen], images.labels[~chosen])


def faces(args: argparse.Namespace) -> Images:
    """scikit-image's lfw_subset: 100 faces, then 100 patches without, 25 × 25 and grey."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise MissingPackageError("name a --folder, or get images of faces: pip install scikit-image")
    patches = np.load(Path(spec.origin).parent / "data" / "lfw_subset.npy")
    bytes_ = np.clip(np.rint(patches * 255), 0, 255).astype(np.uint8)
    photographs = [np.repeat(patch[:, :, None], 3, axis=2) for patch in bytes_]
    return prepared(photographs, np.repeat([0, 1], 100), args)


def from_folder(args: argparse.Namespace) -> Images:
    """All photographs in the folders of a folder; the folders are the classes, in alphabetical order."""
    folders = sorted(path for path in args.folder.glob("*") if path.is_dir())
    files = [(file, label) for label, folder in enumerate(folders) for file in sorted(folder.iterdir())]
    counts = [sum(label == number for _, label in files) for number in range(len(folders))]
    if len(folders) < 2 or min(counts) < PER_CLASS + VALIDATION + 1:
        raise DataError(
            f"{args.folder} needs two folders or more with {PER_CLASS + VALIDATION + 1} photographs each, it has "
            + (", ".join(f"{folder.name} with {n}" for folder, n in zip(folders, counts, strict=True)) or "none")
        )
    return prepared([read_image(file) for file, _ in files], np.array([label for _, label in files]), args)


def prepared(photographs: list, labels: np.ndarray, args: argparse.Namespace) -> Images:
    """As the weights want it, but whole, and at the size that was asked for."""
    preprocessing = models.preprocessing(args.model)._replace(size=args.size, resize=None, border=0)
    return Images(np.stack([prepare(photograph, preprocessing) for photograph in photographs]), labels)


if __name__ == "__main__":
    with teaching_errors():
        main()
