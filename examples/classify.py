"""What is in a photograph? A network trained on ImageNet answers, offline: the code behind `minicnn classify`.

    pip install "minicnn[pretrained]"                       the weights and the names of the classes
    python examples/classify.py photo.jpg another.png
    python examples/classify.py                             two photographs that scikit-image brings along

--model names any network with weights in models/pretrained.py; --weights gives it a file of your own.
"""

import argparse
import importlib.util
from pathlib import Path

import models
from minicnn import Tensor, no_grad, ops
from minicnn.errors import MissingPackageError
from minicnn.formats import prepare, read_image
from minicnn.train import teaching_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--model", default="efficientnet_lite0", help="default: efficientnet_lite0")
    parser.add_argument("--weights", default="imagenet", help="a weight file; default: those that come as a package")
    args = parser.parse_args()

    network = models.create_model(args.model, weights=args.weights).eval()
    names = models.imagenet_classes()
    for photo in args.photos or photographs_at_hand():
        image = prepare(read_image(photo), models.preprocessing(args.model))
        with no_grad():
            probabilities = ops.softmax(network(Tensor(image[None])), axis=1).numpy()[0]
        print(photo.name)
        for label in probabilities.argsort()[:-6:-1]:
            print(f"  {probabilities[label]:7.2%}  {names[label]:<20} {'█' * round(40 * float(probabilities[label]))}")


def photographs_at_hand() -> list[Path]:
    """A cat and a cup of coffee."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise MissingPackageError("name a photograph, or get two: pip install scikit-image")
    return [Path(spec.origin).parent / "data" / name for name in ("chelsea.png", "coffee.png")]


if __name__ == "__main__":
    with teaching_errors():
        main()
