"""Photographs, prepared as a network was trained to see them.

    prepare(read_image("photo.jpg"), preprocessing)   ->   float32 (3, size, size)

Pillow reads and resizes; its bicubic and bilinear filters grow with the reduction (antialiasing), as in TensorFlow's
antialias=True and torchvision's transforms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError


class Preprocessing(NamedTuple):
    """What is done to a photograph before a network sees it.

    size: height and width of what it sees. Either `resize` is given: the shorter side is made so long, and the middle
    cut out; or it is None: the middle is cut out so that, with the whole image size + border wide, `border` of it is
    left off, and then resized. Pixels, 0 to 255, become (x − mean) / std, by channel.
    """

    size: int
    resize: int | None
    border: int
    filter: str  # "bicubic" or "bilinear"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def read_image(path: str | Path) -> Any:
    """A photograph as a Pillow image in RGB, turned upright as its camera noted.

    Raises DataError for a file that is missing, damaged or no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # when first needed

    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no image {path}: check the path")
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:
        raise DataError(f"{path} is no image that Pillow knows, such as JPEG or PNG") from None
    except (OSError, ValueError, SyntaxError, MemoryError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is damaged or incomplete ({error}): copy or export it again") from None


def prepare(image: Any, preprocessing: Preprocessing) -> np.ndarray:
    """A Pillow image, or an array (H, W, 3) of bytes, as float32 (3, size, size).

    Raises DataError for an image without pixels, or an array of another shape or type.
    """
    from PIL import Image

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(f"an image is an array (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
        image = Image.fromarray(image)
    size, resize, border, resampling, mean, std = preprocessing
    method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[resampling]
    width, height = image.size
    if min(width, height) < 1:
        raise DataError(f"an image needs pixels, this one is {height} × {width}")
    if resize is None:
        side = max(1, int(min(width, height) * size / (size + border)))
        left, top = (width - side + 1) // 2, (height - side + 1) // 2  # as TensorFlow rounds
        image = image.crop((left, top, left + side, top + side)).resize((size, size), method)
    else:
        shorter = min(width, height)
        image = image.resize((width * resize // shorter, height * resize // shorter), method)
        left, top = round((image.width - size) / 2), round((image.height - size) / 2)  # as torchvision rounds
        image = image.crop((left, top, left + size, top + size))
    pixels = np.asarray(image, np.float32)
    return ((pixels - np.array(mean, np.float32)) / np.array(std, np.float32)).transpose(2, 0, 1).copy()
