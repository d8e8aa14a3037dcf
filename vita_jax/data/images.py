"""`load_images(name)`: labelled images, whole, for the device: scikit-learn's digits, MNIST, CIFAR-10."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax.base.choose import choose, hint
from vita_jax.data import sources
from vita_jax.data.files import read_npz
from vita_jax.data.files_image import read_image
from vita_jax.data.tfds_files import prepared_dir, read_columns, tfds_dir

NAMES = ("digits", "mnist", "cifar10")
CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())


class Images(NamedTuple):
  """Two splits, each {"image": uint8 [n, height, width, channels], "label": int32 [n]}, and where from."""

  train: dict[str, np.ndarray]
  test: dict[str, np.ndarray]
  source: str


def load_images(name: str) -> Images:
  """Loads the images of a name: "digits", "mnist" or "cifar10".

  Digits come with scikit-learn (8 x 8; grey values 0 to 16 become 0 to 255; every fifth image is in the test
  split). The others come from $VITA_DATA_DIR/<name>, else from a TFDS data set of that name prepared
  under $TFDS_DATA_DIR.

  Raises:
    ValueError: an unknown name, or a file that is not what is recorded.
    FileNotFoundError: no door serves.
  """
  if name == "digits":
    return _digits()
  if name not in NAMES:
    raise ValueError(f"unknown images '{name}'{hint(name, NAMES)}; known: {', '.join(NAMES)}")
  if files := sources.source_files(name):
    return {"mnist": _mnist, "cifar10": _cifar10}[name](files)
  if prepared := prepared_dir(name):
    train, test = (read_columns(prepared, split) for split in ("train", "test"))
    train, test = (_split(np.stack(x["image"]), np.array(x["label"])) for x in (train, test))
    return Images(train, test, f"TFDS {name}")
  raise FileNotFoundError(
    f"no images '{name}': there is {sources.missing(name)}, and no TFDS data set {name} in array_record"
    f" format under $TFDS_DATA_DIR ({tfds_dir()}); nothing is downloaded. The digits of scikit-learn need"
    " neither"
  )


def cifar10_class(name: str) -> Images:
  """Loads the images of one class of CIFAR-10, e.g. a domain "horse" to be turned into "deer".

  Raises:
    ValueError: an unknown class; the nearest is named.
    FileNotFoundError: as in `load_images`.
  """
  label = CIFAR10_CLASSES.index(choose("class of CIFAR-10", name, CIFAR10_CLASSES))
  found = load_images("cifar10")

  def only(split: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: x[split["label"] == label] for key, x in split.items()}

  return Images(only(found.train), only(found.test), f"{found.source}, class {name}")


def rows(split: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
  """Returns a split as the source of a Stream: rows {"image": [height, width, channels], "label": []}."""
  return [
    {"image": image, "label": label} for image, label in zip(split["image"], split["label"], strict=True)
  ]


def _split(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
  return {"image": np.ascontiguousarray(images, np.uint8), "label": np.asarray(labels, np.int32)}


def _digits() -> Images:
  from sklearn.datasets import load_digits

  pixels, labels = load_digits(return_X_y=True)
  images = np.round(pixels * (255 / 16)).reshape(-1, 8, 8, 1)
  test = np.arange(len(labels)) % 5 == 4
  return Images(_split(images[~test], labels[~test]), _split(images[test], labels[test]), "scikit-learn")


def _mnist(files: dict[str, Path]) -> Images:
  (path,) = files.values()
  arrays = read_npz(path)
  train, test = (_split(arrays[f"x_{s}"][..., None], arrays[f"y_{s}"]) for s in ("train", "test"))
  return Images(train, test, str(path.parent))


def _cifar10(files: dict[str, Path]) -> Images:
  def sheet(path: Path) -> np.ndarray:
    pixels = read_image(path)
    return pixels.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3)

  labels = read_npz(files["cifar10/labels.npz"])
  images = {
    s: np.concatenate([sheet(path) for path in files.values() if path.name.startswith(s)])
    for s in ("train", "test")
  }
  folder = files["cifar10/labels.npz"].parent
  train, test = (_split(images[s], labels[f"y_{s}"]) for s in ("train", "test"))
  return Images(train, test, f"{folder} (a subset)")
