"""What all tests share: on which devices they run, how many examples hypothesis tries, and what is left out.

pytest                                  device-dependent tests run on "reference" and on "cpu"
pytest --device cpu                     only the device-dependent tests, on one device
HYPOTHESIS_PROFILE=thorough pytest      10,000 examples of every row of the op table and of all else, and what is slow
pytest -m slow                          only what is slow: networks in full size
pytest -m torch                         comparisons with PyTorch
coverage run -m pytest && coverage report     branches that no test takes (pyproject.toml)
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from minicnn import Tensor
from minicnn.device import DEVICES, to_host
from tests.strategies import companions

USUAL_DEVICES = ("reference", "cpu")
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)  # naive oracles are slow, and two cores may be busy

settings.register_profile("dev", max_examples=8, deadline=None, print_blob=True, suppress_health_check=SLOW)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
THOROUGH = 10_000
FEWER = 4  # on a simulated GPU, where each launch costs a millisecond
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=THOROUGH)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    devices = ", ".join(DEVICES)
    parser.addoption("--device", metavar="NAME", help=f"run only device-dependent tests, on one device: {devices}")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--device")
    if name is not None and name not in DEVICES:
        raise pytest.UsageError(f'--device "{name}" is not known: choose one of {", ".join(DEVICES)}')


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument `device` runs once on each."""
    if "device" in metafunc.fixturenames:
        name = metafunc.config.getoption("--device")
        metafunc.parametrize("device", [name] if name else USUAL_DEVICES)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """hypothesis gives a parametrised test new settings at each call, each a child of the last: take them off again.

    With derandomize nothing in this chain is cached, and after 900 calls asking for the database recurses too deep.
    """
    function = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
    before = getattr(function, "_hypothesis_internal_use_settings", None)
    if before is not None and (count := _examples_of(item)) is not None:
        function._hypothesis_internal_use_settings = settings(before, max_examples=count)
    try:
        with _numpy_that_copies(_parameters(item).get("device", "cpu"), item):
            return (yield)
    finally:
        if before is not None:
            function._hypothesis_internal_use_settings = before


def _examples_of(item: pytest.Item) -> int | None:
    """How many examples hypothesis chooses for a test; None: as many as the test or the profile says.

    A property of a row of the op table has companions with each, which count as examples.
    """
    parameters, thorough = _parameters(item), settings().max_examples == THOROUGH
    on_host = DEVICES[parameters.get("device", "cpu")].memory == "host"
    each = 1 + companions(thorough, on_host)
    if thorough and "op" in parameters:
        return -(-THOROUGH // item.config.stash[TESTS_OF_ROW][parameters["op"].name] // each)
    many = None if on_host else FEWER
    return (many or settings().max_examples) // each if "holds" in parameters else many


@contextlib.contextmanager
def _numpy_that_copies(device: str, item: pytest.Item) -> Iterator[None]:
    """Tests look at results with NumPy. Where these are in a GPU's memory, .numpy() copies for them, which it refuses
    to users; a test of that is marked `as_users_have_it`."""
    if DEVICES[device].memory == "host" or item.get_closest_marker("as_users_have_it"):
        yield
        return
    original, Tensor.numpy = Tensor.numpy, lambda tensor: to_host(tensor.data)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.numpy = original  # type: ignore[method-assign]


TESTS_OF_ROW = pytest.StashKey[Counter]()  # how many tests share the examples of a row of the op table


def _parameters(item: pytest.Item) -> dict:
    return item.callspec.params if hasattr(item, "callspec") else {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted_device, wants_torch = config.getoption("--device"), "torch" in config.getoption("-m")
    wants_slow = "slow" in config.getoption("-m") or settings().max_examples == THOROUGH

    def wanted(item: pytest.Item) -> bool:
        if item.get_closest_marker("torch") and not wants_torch:
            return False
        if item.get_closest_marker("slow") and not wants_slow:
            return False
        if item.get_closest_marker("on_host") and wanted_device and DEVICES[wanted_device].memory != "host":
            return False
        return wanted_device is None or "device" in getattr(item, "fixturenames", ())

    given = [item for item in items if hasattr(getattr(item, "obj", None), "hypothesis")]
    config.stash[TESTS_OF_ROW] = Counter(_parameters(item)["op"].name for item in given if "op" in _parameters(item))
    left_out = [item for item in items if not wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if wanted(item)]
