"""Augmenting image rows on the host: pure functions of an image and a NumPy Generator.

Every function is `f(image, rng, *, options) -> image`; those without chance leave `rng` unread, so that
all of them compose. `Augment` makes the `transform` of a Stream out of them:

    transform = Augment(
      (
        functools.partial(random_resized_crop, size=64),
        flip,
        functools.partial(colour_jitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        functools.partial(to_float, mean=0.5, std=0.5),
      )
    )
    data = Stream(ImageFolder("photos"), batch_size=32, transform=transform)

Images are uint8 [height, width, channels], 0 to 255, or floating, 0 to 1; each function gives back what it
got. The same generator state gives the same image: a Stream hands a generator of (seed, epoch, row id) to
`transform(row, rng)`, so that a resumed run sees the same crops.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose

Size = int | tuple[int, int]
Step = Callable[[np.ndarray, Any], np.ndarray]

METHODS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow weighs


class Augment(NamedTuple):
  """A transform of rows: the steps, in order, on `row[key]`; worker processes can receive it."""

  steps: Sequence[Step]
  key: str = "image"

  def __call__(self, row: Mapping[str, Any], rng: np.random.Generator | None = None) -> dict[str, Any]:
    image = row[self.key]
    for step in self.steps:
      image = step(image, rng)
    return {**row, self.key: image}


class Together(NamedTuple):
  """A transform of rows: the steps on several images of one size alike, with the same crops and flips.

      transform = Together((functools.partial(random_crop, size=64), flip), keys=("image", "target"))

  The images become channels of one, so that steps for three channels (`colour_jitter`) do not fit: give them
  to an `Augment` of the one image that they are for.

  Examples:
    >>> both = Together((flip,))
    >>> image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    >>> row = both({"image": image, "target": 255 - image}, np.random.default_rng(0))
    >>> bool((row["image"] + row["target"] == 255).all())
    True
  """

  steps: Sequence[Step]
  keys: tuple[str, ...] = ("image", "target")

  def __call__(self, row: Mapping[str, Any], rng: np.random.Generator | None = None) -> dict[str, Any]:
    images = [row[key] for key in self.keys]
    if len({(x.shape[:2], x.dtype) for x in images}) > 1:
      found = ", ".join(f"{key} {x.dtype} {list(x.shape)}" for key, x in zip(self.keys, images, strict=True))
      raise ValueError(f"images that are cropped together must be of one size and dtype: {found}")
    whole = np.concatenate(images, axis=-1)
    for step in self.steps:
      whole = step(whole, rng)
    ends = np.cumsum([x.shape[-1] for x in images])[:-1]
    return {**row, **dict(zip(self.keys, np.split(whole, ends, axis=-1), strict=True))}


def resize(image: np.ndarray, rng: Any = None, *, size: Size, method: str = "bilinear") -> np.ndarray:
  """Resizes by Pillow, whose filters widen when an image shrinks (antialiasing).

  Args:
    image: [h, w, c].
    rng: unread.
    size: (height, width); or one number: the shorter side becomes that, and the shape is kept.
    method: one of `METHODS`.
  """
  choose("method", method, METHODS)
  height, width = _shape(image)
  if isinstance(size, int):
    short = min(height, width)
    size = (max(1, round(height * size / short)), max(1, round(width * size / short)))
  return _resized(image, (0, 0, width, height), _size(size), method)


def center_crop(image: np.ndarray, rng: Any = None, *, size: Size) -> np.ndarray:
  """Cuts [*size] out of the middle; what is left over on odd lengths stays below and on the right."""
  height, width = _shape(image)
  rows, columns = _fitting(image, size)
  top, left = (height - rows) // 2, (width - columns) // 2
  return image[top : top + rows, left : left + columns]


def square(image: np.ndarray, rng: Any = None, *, size: int, method: str = "bilinear") -> np.ndarray:
  """Cuts the square in the middle out and resizes it to [size, size]; see `center_crop` and `resize`."""
  return resize(center_crop(image, size=min(_shape(image))), size=(size, size), method=method)


def random_crop(
  image: np.ndarray, rng: np.random.Generator, *, size: Size, padding: int = 0, mode: str = "constant"
) -> np.ndarray:
  """Cuts [*size] out at a random place, of the image with so much padding on every side.

  `mode` is "constant" (zeros), "reflect" or "edge".
  """
  choose("mode", mode, ("constant", "reflect", "edge"))
  if padding:
    options: Any = {"mode": mode}  # checked above; numpy's type lists the modes one by one
    image = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), **options)
  height, width = _shape(image)
  rows, columns = _fitting(image, size)
  top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
  return image[top : top + rows, left : left + columns]


def random_resized_crop(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  size: Size,
  area: tuple[float, float] = (0.08, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
  method: str = "bilinear",
) -> np.ndarray:
  """Cuts a box of random area and shape out at a random place and resizes it to [*size].

  Args:
    image: [h, w, c].
    rng: the generator.
    size: as in `resize`; one number: a square.
    area: of the box, as a part of the image's, uniform.
    ratio: width / height of the box, uniform in its logarithm. After ten boxes that do not fit, the largest
      one in the middle whose ratio is within the bounds.
    method: one of `METHODS`.
  """
  choose("method", method, METHODS)
  height, width = _shape(image)
  for _ in range(10):
    part = height * width * rng.uniform(*area)
    shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
    columns, rows = round(math.sqrt(part * shape)), round(math.sqrt(part / shape))
    if 0 < columns <= width and 0 < rows <= height:
      left, top = int(rng.integers(width - columns + 1)), int(rng.integers(height - rows + 1))
      break
  else:
    shape = min(max(width / height, ratio[0]), ratio[1])
    columns, rows = min(width, round(height * shape)), min(height, round(width / shape))
    columns, rows = max(columns, 1), max(rows, 1)
    left, top = (width - columns) // 2, (height - rows) // 2
  return _resized(image, (left, top, left + columns, top + rows), _size(size), method)


def flip(image: np.ndarray, rng: np.random.Generator, *, probability: float = 0.5) -> np.ndarray:
  """Mirrors left and right with this probability."""
  return image[:, ::-1] if rng.random() < probability else image


def colour_jitter(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  brightness: float = 0.0,
  contrast: float = 0.0,
  saturation: float = 0.0,
  hue: float = 0.0,
) -> np.ndarray:
  """Changes brightness, contrast, saturation and hue of an RGB image by random amounts, in random order.

  Args:
    image: [h, w, 3].
    rng: the generator.
    brightness: b, for a factor uniform in [max(0, 1 - b), 1 + b], applied towards black.
    contrast: the same, towards the mean grey of the image.
    saturation: the same, towards each place's own grey.
    hue: h: a rotation about the grey axis by a part of a full turn uniform in [-h, h]; at most 0.5.

  Raises:
    ValueError: another number of channels, or amounts out of range.
  """
  if image.ndim != 3 or image.shape[-1] != 3:
    raise ValueError(f"colour jitter needs an image [height, width, 3], this is {list(image.shape)}")
  if min(brightness, contrast, saturation, hue) < 0 or hue > 0.5:
    raise ValueError("amounts of colour jitter must be at least 0, and hue at most 0.5")
  x = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 1)
  amounts = dict(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
  drawn = {
    name: rng.uniform(-amount, amount) if name == "hue" else rng.uniform(max(0.0, 1 - amount), 1 + amount)
    for name, amount in amounts.items()
    if amount
  }
  for i in rng.permutation(len(drawn)):
    name, value = list(drawn.items())[i]
    x = np.clip(_CHANGES[name](x, np.float32(value)), 0, 1)
  return np.round(x * 255).astype(np.uint8) if image.dtype == np.uint8 else x.astype(image.dtype)


def to_float(
  image: np.ndarray,
  rng: Any = None,
  *,
  mean: float | Sequence[float] = 0.0,
  std: float | Sequence[float] = 1.0,
) -> np.ndarray:
  """Computes float32 (x - mean) / std, x in 0 to 1, from uint8 0 to 255 or floating 0 to 1; the last step."""
  x = image.astype(np.float32) / np.float32(255 if image.dtype == np.uint8 else 1)
  return (x - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def _brighter(x: np.ndarray, factor: np.float32) -> np.ndarray:
  return x * factor


def _more_contrast(x: np.ndarray, factor: np.float32) -> np.ndarray:
  grey = np.mean(x @ GREY, dtype=np.float32)
  return grey + factor * (x - grey)


def _more_saturated(x: np.ndarray, factor: np.float32) -> np.ndarray:
  grey = (x @ GREY)[..., None]
  return grey + factor * (x - grey)


def _turned(x: np.ndarray, turn: np.float32) -> np.ndarray:
  """Colours rotated about the axis from black to white; a third of a turn makes red green."""
  cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn) / math.sqrt(3)
  third = (1 - cos) / 3
  a, b, c = third + cos, third + sin, third - sin
  return x @ np.array([[a, b, c], [c, a, b], [b, c, a]], np.float32)


_CHANGES = {
  "brightness": _brighter,
  "contrast": _more_contrast,
  "saturation": _more_saturated,
  "hue": _turned,
}


def _resized(
  image: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int], method: str
) -> np.ndarray:
  """The box (left, top, right, bottom) of an image at this size."""
  from PIL import Image

  kind = getattr(Image.Resampling, method.upper())
  image = image[box[1] : box[3], box[0] : box[2]]
  if image.dtype == np.uint8 and image.shape[-1] == 3:
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], kind))
  channels = image if image.dtype == np.uint8 else image.astype(np.float32)
  parts = [
    np.asarray(Image.fromarray(np.ascontiguousarray(channels[..., i])).resize(size[::-1], kind))
    for i in range(image.shape[-1])
  ]
  return np.stack(parts, axis=-1).astype(image.dtype)


def _shape(image: np.ndarray) -> tuple[int, int]:
  if image.ndim != 3 or (image.dtype != np.uint8 and image.dtype.kind != "f"):
    raise ValueError(
      f"an image is uint8 or floating [height, width, channels], this is {image.dtype} {list(image.shape)}"
    )
  return image.shape[0], image.shape[1]


def _size(size: Size) -> tuple[int, int]:
  both = (size, size) if isinstance(size, int) else size
  if len(both) != 2 or min(both) < 1:
    raise ValueError(f"size is {size}: it must be a number or (height, width), at least 1")
  return both[0], both[1]


def _fitting(image: np.ndarray, size: Size) -> tuple[int, int]:
  (height, width), (rows, columns) = _shape(image), _size(size)
  if rows > height or columns > width:
    raise ValueError(
      f"a crop of {rows} x {columns} is larger than the image, {height} x {width}: resize first"
    )
  return rows, columns


def blur(image: np.ndarray, rng: Any = None, *, sigma: float) -> np.ndarray:
  """Blurs a uint8 image by a Gaussian of this standard deviation in pixels (Pillow's, of box filters)."""
  from PIL import Image, ImageFilter

  return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def jpeg(image: np.ndarray, rng: Any = None, *, quality: int) -> np.ndarray:
  """Returns a uint8 image as it comes back from a JPEG file of this quality, 1 to 100."""
  from PIL import Image

  file = io.BytesIO()
  Image.fromarray(image).save(file, "JPEG", quality=quality)
  return np.array(Image.open(file))
