"""`PrivacyEncoder`: the encoder as a scikit-learn transformer, for pipelines and grid searches."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from vita_jax import train
from vita_jax.data import tabular
from vita_jax.data.schema import parse_schema
from vita_jax.data.tables import Table, as_table
from vita_jax.papers import pcal
from vita_jax.papers.pcal.data import make_task
from vita_jax.papers.pcal.export import encode
from vita_jax.papers.pcal.game import make_game
from vita_jax.papers.pcal.recipe import check, default_config, recipe_of
from vita_jax.train.finish import load_state

TARGET = "__target__"


class PrivacyEncoder(TransformerMixin, BaseEstimator):
  """Learns a representation that keeps the target and hides private attributes.

  Args:
    schema: plain data (see `data.schema.parse_schema`): which columns are inputs, private and the target.
    gamma: weight of privacy against utility. latent: width of the representation. noise: std of its noise.
    steps: of the game. attributes: names of the private attributes to hide, () for all of the schema.
    variant: which private columns are inputs: "exclude" none of those attacked, "include", "exclude_all".
    random_state: seed. settings: further settings of `papers/pcal/recipe.py`, e.g. {"restart.every": 300}.

  `fit` takes all columns, also the private ones; `transform` needs the inputs alone. Of the rows given to
  `fit`, 60 % train, the rest is left for choosing: audit the result on rows that `fit` has never seen.
  """

  def __init__(
    self,
    schema: Mapping[str, Any],
    *,
    gamma: float = 1.0,
    latent: int = 8,
    noise: float = 0.5,
    steps: int = 3000,
    attributes: tuple[str, ...] = (),
    variant: str = "exclude",
    random_state: int = 0,
    settings: Mapping[str, Any] | None = None,
  ):
    self.schema = schema
    self.gamma = gamma
    self.latent = latent
    self.noise = noise
    self.steps = steps
    self.attributes = attributes
    self.variant = variant
    self.random_state = random_state
    self.settings = settings

  def fit(self, X: Any, y: Any = None) -> PrivacyEncoder:
    """Trains on the rows of a data frame or a mapping of columns.

    Args:
      X: every column of the schema. y: the target [n] of two classes; None: the schema names its column.

    Raises:
      ValueError: see `data.make_task`.
    """
    table, content = as_table(X, source="the data given to fit"), dict(self.schema)
    if y is not None:
      table = Table({**table.columns, **as_table({TARGET: y}).columns}, table.source)
      old = parse_schema(content).target
      if old and old.column in table.columns and old.column not in _used(content):
        content["drop"] = [*content.get("drop", ()), old.column]
      content["target"] = TARGET
    schema = parse_schema(content)
    config = default_config("", tuple(self.attributes))
    config.update(
      {
        "gamma": self.gamma,
        "latent": self.latent,
        "noise": self.noise,
        "steps": self.steps,
        "variant": self.variant,
        "seed": self.random_state,
      }
    )
    config.update_from_flattened_dict(dict(self.settings or {}))
    check(config)
    task = make_task(table, schema, attributes=config.attributes, variant=config.variant)
    experiment = pcal.experiment(config, task)._replace(report=None)  # whoever fits, audits
    with tempfile.TemporaryDirectory() as folder:
      train.run(experiment, config, folder, quiet=True)
      state, _ = load_state(experiment, config, folder)
    taken = experiment.export(state)
    self.params_ = jax.device_get(taken.params)
    self.encoding_ = tabular.from_json(taken.card["encoding"])
    self.game_ = make_game(recipe_of(config), task)._replace(tx={})  # optimizers cannot be pickled
    self.n_features_in_ = len(table.columns)
    return self

  def transform(self, X: Any) -> np.ndarray:
    """float32 [n, latent]: the representation of rows; the columns of inputs are needed, others are ignored.

    Raises:
      ValueError: absent columns, missing values, unseen categories, as the schema says.
    """
    return self._run(X)["z"]

  def predict_score(self, X: Any) -> np.ndarray:
    """float32 [n]: the probability of the target's second class, by the head of the encoder."""
    return self._run(X)["probability"]

  def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
    """`z0`, `z1`, ..."""
    return np.array([f"z{i}" for i in range(self.latent)], object)

  def _run(self, X: Any) -> dict[str, np.ndarray]:
    check_is_fitted(self, "params_")
    raw = tabular.raw_inputs(self.encoding_, as_table(X, source="the data given to transform"))
    outputs = jax.jit(functools.partial(encode, self.game_))(self.params_, **raw)
    return {name: np.asarray(x) for name, x in outputs.items()}


def _used(content: Mapping[str, Any]) -> set[str]:
  return {c for role in ("numeric", "log_numeric", "categorical", "drop") for c in content.get(role) or ()}
