"""`load_images(name)`: labelled images, whole, for the device: scikit-learn's digits, MNIST, CIFAR-10."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax.base.hashing import file_sha256
from vita_jax.data.files import read_npz
from vita_jax.data.sources import tfds_dir

# Files under $VITA_DATA_DIR/<name> and what they must be. Of CIFAR-10 it is a subset in lossless sheets of
# 25 x 40 images: 10,000 for training, 1,000 for testing.
FILES = {
  "mnist": {"mnist.npz": "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"},
  "cifar10": {
    "labels.npz": "f8e78c9fad8fe974b68a4577220d6dd50bd07bbb2b5ed1cc219081e49b0b979b",
    "train_00.webp": "5b1c8418d55b9755e2402dc5fe5ced6b538e261066f7366cc73bc615b1836320",
    "train_01.webp": "758ca6f6aa78526be9b65c2e2653c464b7f32c7f12746c408ff46ad24290f462",
    "train_02.webp": "4b40da7e1bae96c2823c5df0dfa47a88f4349b27d18db4b5532a9bf0c0cea126",
    "train_03.webp": "6ea5e7e66924869d2385d75c0bf8b63692e070252b93db8913df28f000280a5d",
    "train_04.webp": "02bf2e3ecbf638ead2720c2dc18478e24e6b94ddd4fd978625ad77afb8332a8d",
    "train_05.webp": "f7aaa370f427354ccf492e0d7598a56163d9089f3e327af14cfd25eeab7a3fb5",
    "train_06.webp": "3b243adaf1b6563ab2b3e46d2377df8cb213c18f239ebad9ca1ff4459cb4ac3e",
    "train_07.webp": "8710ebf4fb30e72721ec2cf6158b917dea31542628918660a9e6a1a2e478a29e",
    "train_08.webp": "4fe7dc25ec0ab30e7ffacaeb8e4642df6fa125be919e9c9abe1dc4ad4897589e",
    "train_09.webp": "64bc96b847fa41e18067f16b61684c8ab38bfd82022f3df0cd8eb1c5cc881402",
    "test_00.webp": "cb828dc0e9362b4226d735175a2f991ca927366a08942e433c12d13c7e23ff10",
  },
}


class Images(NamedTuple):
  """Two splits, each {"image": uint8 [n, height, width, channels], "label": int32 [n]}, and where from."""

  train: dict[str, np.ndarray]
  test: dict[str, np.ndarray]
  source: str


def load_images(name: str) -> Images:
  """The images of a name: "digits", "mnist" or "cifar10".

  Digits come with scikit-learn (8 x 8; grey values 0 to 16 become 0 to 255; every fifth image is in the test
  split). The others come from $VITA_DATA_DIR/<name>, else from a TFDS data set of that name prepared
  under $TFDS_DATA_DIR.

  Raises:
    ValueError: an unknown name, or a file that is not what is recorded.
    FileNotFoundError: no door serves.
  """
  if name == "digits":
    return _digits()
  if name not in FILES:
    raise ValueError(f"unknown images '{name}'; known: digits, {', '.join(FILES)}")
  root = os.environ.get("VITA_DATA_DIR")
  folder = Path(root or ".").expanduser() / name
  if root and folder.is_dir():
    for file, expected in FILES[name].items():
      if (found := file_sha256(folder / file)) != expected:
        raise ValueError(
          f"{folder / file} is damaged or another version: sha256 {found}, expected {expected}"
        )
    return {"mnist": _mnist, "cifar10": _cifar10}[name](folder)
  if any((tfds_dir() / name).rglob("dataset_info.json")):
    return _tfds(name)
  raise FileNotFoundError(
    f"no images '{name}': there is no folder {name}/ under $VITA_DATA_DIR ({root or 'unset'}) with"
    f" {', '.join(list(FILES[name])[:2])} ..., and no TFDS data set {name} in array_record format under"
    f" $TFDS_DATA_DIR ({tfds_dir()}); nothing is downloaded. The digits of scikit-learn need neither"
  )


def _split(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
  return {"image": np.ascontiguousarray(images, np.uint8), "label": np.asarray(labels, np.int32)}


def _digits() -> Images:
  from sklearn.datasets import load_digits

  pixels, labels = load_digits(return_X_y=True)
  images = np.round(pixels * (255 / 16)).reshape(-1, 8, 8, 1)
  test = np.arange(len(labels)) % 5 == 4
  return Images(_split(images[~test], labels[~test]), _split(images[test], labels[test]), "scikit-learn")


def _mnist(folder: Path) -> Images:
  arrays = read_npz(folder / "mnist.npz")
  splits = (_split(arrays[f"x_{s}"][..., None], arrays[f"y_{s}"]) for s in ("train", "test"))
  return Images(*splits, str(folder))


def _cifar10(folder: Path) -> Images:
  from PIL import Image

  def sheet(file):
    pixels = np.asarray(Image.open(folder / file).convert("RGB"))
    return pixels.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3)

  labels = read_npz(folder / "labels.npz")
  images = {
    s: np.concatenate([sheet(f) for f in FILES["cifar10"] if f.startswith(s)]) for s in ("train", "test")
  }
  return Images(*(_split(images[s], labels[f"y_{s}"]) for s in ("train", "test")), f"{folder} (a subset)")


def _tfds(name: str) -> Images:
  import tensorflow_datasets as tfds

  def split(which):
    source = tfds.data_source(name, split=which, data_dir=tfds_dir())
    rows = [source[i] for i in range(len(source))]
    return _split(np.stack([r["image"] for r in rows]), np.array([r["label"] for r in rows]))

  return Images(split("train"), split("test"), f"TFDS {name}")
