"""From files to rows: images whose labels are hidden by the seed, or a user's own rows with PU labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vita_jax.data import tables, tabular, volumes
from vita_jax.data.files import read_npz
from vita_jax.data.images import load_images
from vita_jax.data.pu_prior import table_prior
from vita_jax.data.pu_table import load_pu_table, load_test_rows
from vita_jax.metrics.class_prior import PriorEstimate
from vita_jax.papers.self_pu.recipe import Data, Recipe

EVEN = (0, 2, 4, 6, 8)
POSITIVE_CLASSES = {"digits": EVEN, "mnist": EVEN, "cifar10": (0, 1, 8, 9)}
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
    stored: `stored(**arrays of program) -> x`, traceable.
    read: path -> arrays of program.
  """

  rows: dict[str, Any]
  labelled: np.ndarray | None
  test: dict[str, Any] | None
  prepare: Callable[[Any], Any]
  program: Mapping[str, tuple[str, str]]
  stored: Callable[..., Any]
  read: Callable[[str], dict[str, np.ndarray]]


def read_inputs(recipe: Recipe) -> Inputs:
  """Reads the rows that `config.data` names.

  Raises:
    ValueError, FileNotFoundError: no file, or one that cannot be used; classes that an option needs and
      the rows do not have.
  """
  data = recipe.data
  if data.name in POSITIVE_CLASSES:
    inputs = _images(data.name)
  elif not data.path:
    kind = "CSV" if data.name == "tabular" else "npz"
    raise ValueError(f"no data is named: give your {kind} file as --config.data.path=FILE")
  else:
    inputs = _tabular(data) if data.name == "tabular" else _volumes(data)
  _check_truth(recipe, inputs)
  return inputs


def estimated_prior(inputs: Inputs, scenario: str) -> PriorEstimate:
  """Estimates the prior of a user's table; warns where it is an upper bound, or in doubt.

  Where the labelled rows are part of the sample, they are unlabelled rows, too, and count as positive ones.

  Raises:
    ValueError: rows that are no flat features, or an estimate of 0 or 1.
  """
  x, labelled = inputs.rows["x"], inputs.labelled
  if labelled is None or not isinstance(x, np.ndarray) or x.ndim != 2:
    raise ValueError(
      "config.prior is 0: a prior is estimated for tables only; give it, e.g. --config.prior=0.4"
    )
  among = "all" if scenario == "single_training_set" else "unlabelled"
  found = table_prior(x, labelled, among=among)
  if not 0 < found.prior < 1:
    raise ValueError(f"the estimated prior is {found.prior}, which cannot be: give config.prior")
  return found


def prepare_image(name: str, x: Any) -> Any:
  """Scales images uint8 [n, h, w, c] to [0, 1]; CIFAR-10 is standardised by ImageNet's moments."""
  scaled = x.astype(jnp.float32) / 255.0
  return scaled if name != "cifar10" else (scaled - jnp.array(MEAN)) / jnp.array(STD)


def _digits() -> tuple[dict[str, np.ndarray], ...]:
  """Returns 1,297 digits to train on and 500 to test, shuffled.

  Every fifth digit would be a test set with 52 threes and 21 ones.
  """
  images = load_images("digits")
  both = {k: np.concatenate([images.train[k], images.test[k]]) for k in images.train}
  order = np.random.default_rng(0).permutation(len(both["label"]))
  return tuple({k: x[rows] for k, x in both.items()} for rows in (order[500:], order[:500]))


def _images(name: str) -> Inputs:
  splits = _digits() if name == "digits" else load_images(name)[:2]
  train, test = (
    {"x": s["image"], "positive": np.isin(s["label"], POSITIVE_CLASSES[name]).astype(np.int8)} for s in splits
  )
  shape = train["x"].shape[1:]
  return Inputs(
    rows=train,
    labelled=None,
    test=test,
    prepare=partial(prepare_image, name),
    program={"image": (f"rows, {', '.join(map(str, shape))}", "uint8")},
    stored=_image,
    read=partial(_read_images, shape),
  )


def _image(image: Any) -> Any:
  return image


def _read_images(shape: tuple[int, ...], path: str) -> dict[str, np.ndarray]:
  image = read_npz(path).get("image")
  if image is None or image.shape[1:] != shape or image.dtype != np.uint8:
    found = "is missing" if image is None else f"is {image.dtype} {image.shape}"
    raise ValueError(f"{path}: 'image' {found}, wanted uint8 [rows, {', '.join(map(str, shape))}]")
  return {"image": image}


def _tabular(data: Data) -> Inputs:
  if not data.schema:
    raise ValueError("no schema is named: give your JSON file as --config.data.schema=FILE")
  table = load_pu_table(data.path, data.schema)
  schema = table.encoding.schema
  return Inputs(
    rows={"x": table.x, "positive": table.positive},
    labelled=table.labelled,
    test=load_test_rows(table.encoding, data.test_path) if data.test_path else None,
    prepare=_unchanged,
    program={
      "numbers": (f"rows, {len(schema.numbers)}", "float32"),
      "codes": (f"rows, {len(schema.categorical)}", "int32"),
    },
    stored=partial(tabular.features, table.encoding, xp=jnp),
    read=partial(_read_rows, table.encoding),
  )


def _read_rows(encoding: tabular.Encoding, path: str) -> dict[str, np.ndarray]:
  return tabular.raw_inputs(encoding, tables.read_table(path))


def _unchanged(x: Any) -> Any:
  return x


def _volumes(data: Data) -> Inputs:
  x, labelled, positive = volumes.load_volumes(data.path)
  return Inputs(
    rows={"x": x, "positive": positive},
    labelled=labelled,
    test=None,
    prepare=_unchanged,
    program={name: (f"rows, {', '.join(map(str, s))}", "float32") for name, s in volumes.SHAPES.items()},
    stored=dict,
    read=_read_volumes,
  )


def _read_volumes(path: str) -> dict[str, np.ndarray]:
  return volumes.check_regions(read_npz(path), path)


def _check_truth(recipe: Recipe, inputs: Inputs) -> None:
  """Raises ValueError for an option that reads true classes, and rows without."""
  if (inputs.rows["positive"] >= 0).all():
    return
  wanted = {
    "config.risk.kind=oracle": recipe.risk.kind == "oracle",
    "config.choose.criterion=clean_accuracy": recipe.criterion == "clean_accuracy",
    "config.calibration.meta=clean": recipe.calibration.enabled and recipe.calibration.meta == "clean",
  }
  if option := next((name for name, asked in wanted.items() if asked), None):
    remedy = "; --config.calibration.meta=entropy needs none" if "meta" in option else ""
    raise ValueError(
      f"{option} needs the true classes of the rows, and this data has none (schema: target){remedy}"
    )
