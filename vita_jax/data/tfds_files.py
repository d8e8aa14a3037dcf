"""TFDS data sets on disk, read and written without TensorFlow (array_record files).

Anything that a `Stream` reads can be written: `write_rows(name, {"train": source}, data_dir=...)`. Any TFDS
user reads it back: `tfds.builder_from_directory(folder).as_data_source("train")`; here `open_rows` does, for
data sets that TFDS itself fetched as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vita_jax.base.choose import hint
from vita_jax.data.files import cause

VERSION = "1.0.0"


def tfds_dir() -> Path:
  """Returns where prepared data sets are: $TFDS_DATA_DIR, else the default of TFDS itself."""
  return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_dir(name: str) -> Path | None:
  """Finds the newest prepared version of a data set, <tfds_dir>/<name>[/<config>]/<version>, or None."""
  found = [info.parent for info in (tfds_dir() / name).rglob("dataset_info.json")]
  return max(found, key=lambda folder: (_version(folder.name), folder), default=None)


def open_rows(folder: str | os.PathLike, split: str) -> Sequence[Mapping[str, Any]]:
  """Opens a split of a prepared data set: it has a length and `source[i]`, so that a Stream reads it.

  Raises:
    ValueError: unreadable or incomplete files, or no such split. ImportError: TFDS is missing.
  """
  tfds = _tfds()
  try:
    builder = tfds.builder_from_directory(folder)
    splits = list(builder.info.splits)
    source = builder.as_data_source(split=split) if split in splits else None
    _ = source is None or len(source) == 0 or source[len(source) - 1]
  except Exception as error:  # array_record and TFDS raise many types on damaged files
    raise ValueError(_damaged(folder, error)) from error
  if source is None:
    raise ValueError(f"{folder} has no split '{split}'{hint(split, splits)}; it has {', '.join(splits)}")
  return source


def read_columns(folder: str | os.PathLike, split: str) -> dict[str, Any]:
  """Reads all rows of a split at once: name -> list of values, one per row; raises as `open_rows` does."""
  source: Any = open_rows(folder, split)
  try:
    every: Any = source  # TFDS reads many rows at once by a method that Sequence does not have
    rows = every.__getitems__(list(range(len(source)))) if len(source) else []
  except Exception as error:
    raise ValueError(_damaged(folder, error)) from error
  return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def write_rows(
  name: str, splits: Mapping[str, Sequence[Mapping[str, Any]]], *, data_dir: str | os.PathLike
) -> Path:
  """Writes sources of rows as a TFDS data set; returns its folder, <data_dir>/<name>/1.0.0.

  Every value is stored with its dtype and shape, bit for bit.

  Args:
    name: of the data set, "name" or "name/config".
    splits: split -> source; rows are flat dicts of numbers, alike in names, dtypes and shapes.
    data_dir: where to.

  Raises:
    ValueError: no rows, rows that are unlike, or values that are no numbers. ImportError: TFDS is missing.
  """
  first = next((rows[0] for rows in splits.values() if len(rows)), None)
  if first is None:
    raise ValueError(f"{name} has no rows to write")
  like = {key: np.asarray(value) for key, value in first.items()}
  for key, value in like.items():
    if value.dtype.kind not in "biuf":
      raise ValueError(f"{name}: '{key}' is {value.dtype}, and only numbers are written")
  _, _, config = name.partition("/")
  builder = _builder_class(name, splits, like)(
    config=config or None, data_dir=os.fspath(data_dir), file_format="array_record"
  )
  builder.download_and_prepare()
  return Path(builder.data_path)


def _builder_class(name: str, splits: Mapping[str, Sequence], like: Mapping[str, np.ndarray]) -> type:
  tfds: Any = _tfds()
  dataset, _, config = name.partition("/")
  zlib = tfds.features.Encoding.ZLIB  # the plain encodings lose dtypes: float64 becomes float32
  features = {
    key: tfds.features.Tensor(shape=x.shape, dtype=x.dtype.type, encoding=zlib) for key, x in like.items()
  }

  with tfds.core.registered.skip_registration():
    base: Any = tfds.core.GeneratorBasedBuilder

    class Rows(base):
      """Rows written by vita_jax."""

      name = dataset
      VERSION = tfds.core.Version(VERSION)
      BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []
      # TFDS looks beside the code for checksums of downloads: there are none, and looking needs the
      # package importlib_resources, which TFDS does not install.
      code_path = None

      def _info(self):
        # No `dataset_info_from_configs`: it wants a package folder per data set.
        return tfds.core.DatasetInfo(
          builder=self,
          description=self.__doc__,
          features=tfds.features.FeaturesDict(features),
          disable_shuffling=True,  # row i is row i of the source
        )

      def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in splits}

      def _generate_examples(self, split):
        for i in range(len(splits[split])):
          row = {key: np.asarray(value) for key, value in splits[split][i].items()}
          _check_alike(row, like, f"{dataset}, split {split}, row {i}")
          yield i, row

  return Rows


def _check_alike(row: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray], where: str) -> None:
  found, expected = ({key: (x.dtype.name, x.shape) for key, x in rows.items()} for rows in (row, like))
  if found != expected:
    raise ValueError(f"{where} is {found}, the first row {expected}: rows must be alike")


def _version(text: str) -> list[int]:
  return [int(part) if part.isdigit() else -1 for part in text.split(".")]


def _damaged(folder: str | os.PathLike, error: Exception) -> str:
  return f"{folder} is damaged or incomplete ({cause(error)}); delete it and run launch/prepare_data.py again"


def _tfds() -> Any:
  try:
    import array_record  # noqa: F401  TFDS would fail later, and less clearly
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ImportError(
      "prepared data sets need tensorflow-datasets and array-record: pip install tensorflow-datasets"
      " array-record"
    ) from error
  return tfds
