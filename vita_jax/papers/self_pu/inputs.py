"""From files to rows: images whose labels are hidden by the seed, or a user's own rows with PU labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.files import read_npz
from vita_jax.data.images import load_images
from vita_jax.papers.self_pu import volumes

EVEN = (0, 2, 4, 6, 8)
POSITIVE_CLASSES = {"digits": EVEN, "mnist": EVEN, "cifar10": (0, 1, 8, 9)}
NAMES = (*POSITIVE_CLASSES, "tabular", "volumes")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as the paper's code has for CIFAR-10


class Inputs(NamedTuple):
  """The rows of an experiment.

  Attributes:
    rows: `x` (array or tree of arrays, as stored on the device) and `positive` int8 [N]: 1, 0, or -1 where
      the true class is not known.
    labelled: bool [N], the user's PU labels; None: labels are drawn from the true classes, by the seed.
    test: rows with true classes that nothing is chosen by, or None.
    prepare: stored x -> the network's input, traceable.
    program: name -> (shape, dtype) of what a user's file holds (see `Exported`).
    stored: `stored(**arrays of program) -> x`, traceable. read: path -> arrays of program.
  """

  rows: dict[str, Any]
  labelled: np.ndarray | None
  test: dict[str, Any] | None
  prepare: Callable[[Any], Any]
  program: Mapping[str, tuple[str, str]]
  stored: Callable[..., Any]
  read: Callable[[str], dict[str, np.ndarray]]


def read_inputs(config: Any) -> Inputs:
  """The rows that `config.data` names.

  Raises:
    ValueError, FileNotFoundError: an unknown name, no file, or one that cannot be used.
  """
  name = choose("config.data.name", config.data.name, NAMES)
  if name in POSITIVE_CLASSES:
    return _images(name)
  if not config.data.path:
    kind = "CSV" if name == "tabular" else "npz"
    raise ValueError(f"no data is named: give your {kind} file as --config.data.path=FILE")
  return _tabular(config) if name == "tabular" else _volumes(config)


def image_inputs(name: str) -> Callable[[Any], Any]:
  """`prepare` of images uint8 [n, h, w, c]: values in [0, 1], CIFAR-10 standardised by ImageNet's moments."""
  if name != "cifar10":
    return lambda x: x.astype(jnp.float32) / 255.0
  return lambda x: (x.astype(jnp.float32) / 255.0 - jnp.array(MEAN)) / jnp.array(STD)


def _digits() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """1,297 digits to train on and 500 to test, shuffled: every fifth one would have 52 threes and 21 ones."""
  images = load_images("digits")
  both = {k: np.concatenate([images.train[k], images.test[k]]) for k in images.train}
  order = np.random.default_rng(0).permutation(len(both["label"]))
  return tuple({k: x[rows] for k, x in both.items()} for rows in (order[500:], order[:500]))


def _images(name: str) -> Inputs:
  train, test = _digits() if name == "digits" else load_images(name)[:2]

  def rows(split):
    positive = np.isin(split["label"], POSITIVE_CLASSES[name]).astype(np.int8)
    return {"x": split["image"], "positive": positive}

  shape = train["image"].shape[1:]

  def read(path):
    arrays = read_npz(path)
    image = arrays.get("image")
    if image is None or image.shape[1:] != shape or image.dtype != np.uint8:
      found = "is missing" if image is None else f"is {image.dtype} {image.shape}"
      raise ValueError(f"{path}: 'image' {found}, wanted uint8 [rows, {', '.join(map(str, shape))}]")
    return {"image": image}

  return Inputs(
    rows(train),
    None,
    rows(test),
    image_inputs(name),
    {"image": (f"rows, {', '.join(map(str, shape))}", "uint8")},
    lambda image: image,
    read,
  )


def _tabular(config: Any) -> Inputs:
  from vita_jax.data import tabular
  from vita_jax.data.schema import parse_schema
  from vita_jax.data.tables import read_table

  if not config.data.schema:
    raise ValueError("no schema is named: give your JSON file as --config.data.schema=FILE")
  try:
    content = json.loads(Path(config.data.schema).read_text())
  except ValueError as error:
    raise ValueError(f"{config.data.schema} is not JSON: {error}") from error
  schema = parse_schema(content)
  if schema.labelled is None:
    raise ValueError(
      f'{config.data.schema}: name the column that marks labelled positives, e.g. "labelled": "label == 1"'
    )
  table = read_table(config.data.path)
  encoding = tabular.fit(schema, table)

  def positive(table):
    if schema.target is None:
      return np.full(table.n_rows, -1, np.int8)
    return _two_classes(tabular, encoding, table, "target").astype(np.int8)

  labelled = _two_classes(tabular, encoding, table, "labelled")
  _check_labelled(labelled, config)
  test = None
  if config.data.test_path:
    if schema.target is None:
      raise ValueError(f'{config.data.schema}: a test file needs a "target", the column of the true class')
    rows = read_table(config.data.test_path)
    test = {"x": tabular.encode(encoding, rows), "positive": positive(rows)}
  n_numbers, n_codes = len(schema.numbers), len(schema.categorical)
  return Inputs(
    {"x": tabular.encode(encoding, table), "positive": positive(table)},
    labelled,
    test,
    lambda x: x,
    {"numbers": (f"rows, {n_numbers}", "float32"), "codes": (f"rows, {n_codes}", "int32")},
    lambda numbers, codes: tabular.features(encoding, numbers, codes, xp=jnp),
    lambda path: tabular.raw_inputs(encoding, read_table(path)),
  )


def _two_classes(tabular: Any, encoding: Any, table: Any, name: str) -> np.ndarray:
  """bool [n]: the second of two classes."""
  classes = encoding.classes[name]
  if len(classes) != 2:
    raise ValueError(
      f"{table.source}: '{name}' has the classes {', '.join(classes) or 'none'}, wanted two; write e.g."
      f' "{name}": "column == value" in the schema'
    )
  return tabular.label_values(encoding, table, name) == 1


def _volumes(config: Any) -> Inputs:
  arrays = read_npz(config.data.path)
  x = volumes.check_regions(arrays, config.data.path)
  if "labelled" not in arrays:
    raise ValueError(f"{config.data.path}: 'labelled' is missing: bool [rows], True for a labelled positive")
  labelled = arrays["labelled"].astype(bool)
  _check_labelled(labelled, config)
  positive = (
    arrays["positive"].astype(np.int8) if "positive" in arrays else np.full(len(labelled), -1, np.int8)
  )
  return Inputs(
    {"x": x, "positive": positive},
    labelled,
    None,
    lambda x: x,
    {name: (f"rows, {', '.join(map(str, shape))}", "float32") for name, shape in volumes.SHAPES.items()},
    lambda **regions: regions,
    lambda path: volumes.check_regions(read_npz(path), path),
  )


def _check_labelled(labelled: np.ndarray, config: Any) -> None:
  """Raises ValueError without labelled or unlabelled rows."""
  n, total = int(labelled.sum()), len(labelled)
  if n == 0 or n == total:
    what = "labelled positives" if n == 0 else "unlabelled rows"
    raise ValueError(f"{config.data.path} has no {what}: of {total} rows {n} are labelled; check the schema")
