"""The list of all networks: a builder registers itself, or a whole table of rows, and create_model() finds it by name.

    @register(input_shape=(1, 32, 32), family="lenet")           one network: the function's name
    def lenet5(num_classes=10, in_channels=1): ...

    register_rows(ROWS, build, input_shape=(3, 224, 224), family="resnet")      one network for each row: its key
    def build(row, num_classes=1000, in_channels=3): ...

The parameters of the function after the row are the options of the network, and their defaults are its own.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicnn.errors import ArgumentError
from minicnn.formats import Preprocessing, load_weights
from minicnn.nn import init

from .features import FeatureExtractor
from .loading import load
from .network import Network
from .pretrained import imagenet_file
from .pretrained import preprocessing as preprocessing_of

Builder = Callable[..., Network]  # with the options of the network
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Entry:
    """One network: how it is built, for images of which (C, H, W), and its options with their defaults."""

    name: str
    build: Builder
    input_shape: Shape
    family: str
    options: Mapping[str, Any]


ENTRIES: dict[str, Entry] = {}
FUNCTIONS: dict[str, Callable[..., Any]] = {}  # what `models.NAME` is


def register(input_shape: Shape, family: str) -> Callable[[Builder], Callable[..., Any]]:
    """Make a builder known under its name. What it returns is the function that users call: as create_model(name)."""

    def known(build: Builder) -> Callable[..., Any]:
        return _enter(build.__name__, build, input_shape, family, build.__doc__ or "", inspect.signature(build))

    return known


def register_rows(
    rows: Mapping[str, Any],
    build: Builder,
    input_shape: Shape | Callable[[Any], Shape],
    family: str,
    **defaults: Any,
) -> None:
    """Make each row known under its key; build(row, **options) builds it.

    input_shape: of all rows, or a function of the row. defaults: options whose default is another one in these rows.
    """
    signature = inspect.signature(build)
    parameters = list(signature.parameters.values())[1:]
    parameters = [p.replace(default=defaults.get(p.name, p.default)) for p in parameters]
    for name, row in rows.items():
        shape = input_shape(row) if callable(input_shape) else input_shape
        about = f"{name}: {build.__doc__}\n\nThe row: {row}"
        _enter(name, functools.partial(build, row), shape, family, about, signature.replace(parameters=parameters))


def _enter(
    name: str, build: Builder, shape: Shape, family: str, about: str, signature: inspect.Signature
) -> Callable[..., Any]:
    options = {option.name: option.default for option in signature.parameters.values()}
    if name in ENTRIES or inspect.Parameter.empty in options.values() or "num_classes" not in options:
        raise ArgumentError(f"{name} is registered twice, has no num_classes, or has an option without a default")
    ENTRIES[name] = Entry(name, build, shape, family, options)

    def function(num_classes: int | None = None, *values: Any, **named: Any) -> Any:
        names = [option for option in options if option != "num_classes"]
        if len(values) > len(names):
            raise ArgumentError(f"{name} takes {1 + len(names)} options, got {1 + len(values)}: {_options(name)}")
        return create_model(name, num_classes, **dict(zip(names, values, strict=False)), **named)

    function.__name__ = function.__qualname__ = name
    function.__module__ = getattr(build, "__module__", build.func.__module__ if hasattr(build, "func") else __name__)
    function.__doc__ = about
    function.__signature__ = signature  # type: ignore[attr-defined]
    FUNCTIONS[name] = function
    return function


def create_model(
    name: str,
    num_classes: int | None = None,
    *,
    weights: str | Path | None = None,
    features_only: bool = False,
    stages: Iterable[str] | None = None,
    **options: Any,
) -> Any:
    """Build a network by name; num_classes None means those of the network's own data set.

    weights: "imagenet", for those in pretrained.py, or the path of a weight file. Given a num_classes that is not the
    file's, the layers that depend on it are left as they were drawn, for fine-tuning; all else must fit.
    features_only: instead of the network, what comes before its head: a module that gives the feature maps by stage,
    {name: Tensor}, from fine to coarse. stages: which of them, None for all that the network names.

    Raises ArgumentError, with the nearest names, if there is no such network, and if it lacks an option or a stage;
    MissingPackageError, with the install line, for weights that are not there; CheckpointError for those that do not
    fit, with the difference.
    """
    entry = entry_of(name)
    for option in options:
        if option not in entry.options:
            raise ArgumentError(f"{name} has no option {option!r}: {_options(name)}")
    if stages is not None and not features_only:
        raise ArgumentError(f"{name}: stages choose among feature maps, add features_only=True")
    if features_only and "aux_logits" in entry.options:
        options.setdefault("aux_logits", False)
    options = {**entry.options, **options}
    if num_classes is not None:
        options["num_classes"] = num_classes
    if weights is None:
        network = entry.build(**options)
    else:
        state = load_weights(imagenet_file(name) if weights == "imagenet" else weights)
        with init.skip() if num_classes is None else contextlib.nullcontext():  # all will be loaded
            network = entry.build(**options)
        load(network, state, entry.build, options, new_head=num_classes is not None)
    network.input_shape = (network.in_channels, *entry.input_shape[1:])
    return FeatureExtractor(network, stages) if features_only else network


def input_shape(name: str) -> Shape:
    """(C, H, W) of the images that a network was published for. Errors as create_model."""
    return entry_of(name).input_shape


def preprocessing(name: str) -> Preprocessing:
    """What a photograph goes through before the network sees it (pretrained.py). Errors as create_model."""
    return preprocessing_of(name, input_shape(name)[1])


def family(name: str) -> str:
    """What list_models filters by. Errors as create_model."""
    return entry_of(name).family


def entry_of(name: str) -> Entry:
    """What is known of a network before it is built. Errors as create_model."""
    if name not in ENTRIES:
        near = difflib.get_close_matches(str(name), ENTRIES, n=5, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "list_models() has their names"
        raise ArgumentError(f"there is no model {name!r}: {hint}")
    return ENTRIES[name]


def _options(name: str) -> str:
    return "it takes " + ", ".join(f"{option}={default!r}" for option, default in ENTRIES[name].options.items())
