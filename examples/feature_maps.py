"""What does each stage of a network see in a photograph? A picture, one row for each stage, from fine to coarse.

    pip install "minicnn[pretrained]"
    python examples/feature_maps.py photo.jpg               into runs/feature_maps.png
    python examples/feature_maps.py                         with a cat that scikit-image brings along
    python examples/feature_maps.py --model resnet18 --weights resnet18.pth

A feature map is one channel: bright where the network has found in the image what this channel looks for. Early stages
keep the place of edges and colours; later ones say what is there, and hardly where. Of each stage those channels are
shown that vary most over the image; above each row stands its stage, the size of its maps, and how many pixels of the
image one of theirs stands for.
"""

import argparse
import importlib.util
from pathlib import Path

import matplotlib
import numpy as np

import models
from minicnn import Tensor, no_grad
from minicnn.errors import MissingPackageError
from minicnn.formats import prepare, read_image
from minicnn.train import teaching_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--model", default="efficientnet_lite0", help="default: efficientnet_lite0")
    parser.add_argument("--weights", default="imagenet", help="a weight file; default: those that come as a package")
    parser.add_argument("--channels", type=int, default=8, help="how many of each stage; default: 8")
    parser.add_argument("--out", type=Path, default=Path("runs/feature_maps.png"), help="where the picture goes")
    args = parser.parse_args()

    network = models.create_model(args.model, weights=args.weights, features_only=True).eval()
    preprocessing = models.preprocessing(args.model)
    image = prepare(read_image(args.photo or photograph_at_hand()), preprocessing)
    with no_grad():
        maps = {stage: y.numpy()[0] for stage, y in network(Tensor(image[None])).items()}
    seen = image.transpose(1, 2, 0) * preprocessing.std + preprocessing.mean
    draw(np.clip(seen, 0, 255).astype(np.uint8), maps, network.strides, args.channels, args.out)
    print(f"{args.out}: {len(maps)} stages of {args.model}")


def photograph_at_hand() -> Path:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise MissingPackageError("name a photograph, or get one: pip install scikit-image")
    return Path(spec.origin).parent / "data" / "chelsea.png"


def most_varied(maps: np.ndarray, count: int) -> np.ndarray:
    """Of (C, P, Q) the channels with the largest variance, from strong to weak."""
    return maps[np.argsort(-maps.reshape(len(maps), -1).std(axis=1), kind="stable")[:count]]


def draw(image: np.ndarray, maps: dict[str, np.ndarray], strides: dict[str, int], count: int, out: Path) -> None:
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(1.5 * (count + 1), 1.75 * len(maps)), layout="constrained")
    for row, (part, (stage, channels)) in enumerate(zip(figure.subfigures(len(maps), 1), maps.items(), strict=True)):
        size = " × ".join(map(str, channels.shape))
        part.suptitle(
            f"{stage}: {size}, one for {strides[stage]} × {strides[stage]} pixels", fontsize=9, x=0.01, ha="left"
        )
        axes = part.subplots(1, count + 1)
        for axis in axes:
            axis.axis("off")
        if row == 0:
            axes[0].imshow(image)
        for axis, channel in zip(axes[1:], most_varied(channels, count), strict=False):
            low, high = np.percentile(channel, (1, 99))
            axis.imshow(channel, cmap="magma", vmin=low, vmax=max(high, low + 1e-9))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    with teaching_errors():
        main()
