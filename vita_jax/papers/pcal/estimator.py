"""`PrivacyEncoder`: the encoder as a scikit-learn transformer, for pipelines and grid searches."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from vita_jax import train
from vita_jax.base.choose import hint
from vita_jax.base.keys import flat
from vita_jax.data import tabular
from vita_jax.data.schema import parse_schema
from vita_jax.data.tables import Table, as_table
from vita_jax.papers import pcal
from vita_jax.papers.pcal.data import make_task
from vita_jax.papers.pcal.export import encode, make_export
from vita_jax.papers.pcal.game import make_game
from vita_jax.papers.pcal.recipe import check, default_config, recipe_of
from vita_jax.train.finish import load_state

TARGET = "__target__"


class PrivacyEncoder(TransformerMixin, BaseEstimator):
  """Learns a representation that keeps the target and hides private attributes.

  Args:
    schema: plain data (see `data.schema.parse_schema`): which columns are inputs, private and the target.
    gamma: weight of privacy against utility.
    latent: width of the representation.
    noise: std of its noise.
    steps: of the game.
    attributes: names of the private attributes to hide, () for all of the schema.
    variant: which private columns are inputs: "exclude" none of those attacked, "include", "exclude_all".
    random_state: a seed, None (another one each time), or a RandomState or Generator of numpy.
    settings: further settings of `papers/pcal/recipe.py`, e.g. {"restart.every": 300}; none of the above.

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
      X: every column of the schema.
      y: the target [n] of two classes; None: the schema names its column.

    Raises:
      ValueError: a setting that does not exist or cannot be; or see `data.make_task`.
    """
    table, content = as_table(X, source="the data given to fit"), dict(self.schema)
    if y is not None:
      table = Table({**table.columns, **as_table({TARGET: y}).columns}, table.source)
      old = parse_schema(content).target
      if old and old.column in table.columns and old.column not in _used(content):
        content["drop"] = [*content.get("drop", ()), old.column]
      content["target"] = TARGET
    config = self._config()
    task = make_task(
      table,
      parse_schema(content),
      attributes=config.attributes,
      variant=config.variant,
      group=config.data.group,
    )
    experiment = pcal.experiment(config, task)._replace(report=None)  # whoever fits, audits
    with tempfile.TemporaryDirectory() as folder:
      train.run(experiment, config, folder, quiet=True)
      state, _ = load_state(experiment, config, Path(folder))
    game = make_game(recipe_of(config), task)
    taken = make_export(game, state)
    self.params_ = jax.device_get(taken.params)
    self.encoding_ = tabular.from_json(taken.card["encoding"])
    self.game_ = game._replace(tx={})  # optimizers cannot be pickled
    self.n_features_in_ = len(table.columns)
    return self

  def transform(self, X: Any) -> np.ndarray:
    """Encodes rows, float32 [n, latent]; the columns of inputs are needed, others are ignored.

    Raises:
      ValueError: absent columns, missing values, unseen categories, as the schema says.
    """
    return self._run(X)["z"]

  def predict_score(self, X: Any) -> np.ndarray:
    """Predicts the probability of the target's second class by the head of the encoder, float32 [n]."""
    return self._run(X)["probability"]

  def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
    """Returns `z0`, `z1`, ..."""
    return np.array([f"z{i}" for i in range(self.latent)], object)

  def _config(self) -> ml_collections.ConfigDict:
    """The settings as a config, checked; numpy's scalars count as numbers."""
    names = (self.attributes,) if isinstance(self.attributes, str) else tuple(map(str, self.attributes))
    config = default_config("", names)
    given = {name: getattr(self, name) for name in ("gamma", "latent", "noise", "steps", "variant")}
    given |= {"seed": _seed(self.random_state)}
    _check_once(self.settings or {}, (*given, "attributes"))
    given |= flat(self.settings or {})
    known = flat(config)
    for name, value in given.items():
      if name not in known:
        raise ValueError(f"settings have no key '{name}'{hint(name, known)}: see papers/pcal/recipe.py")
      try:
        config.update_from_flattened_dict({name: _plain(value)})
      except (TypeError, ValueError) as error:
        kind = type(known[name]).__name__
        raise ValueError(f"{name} is {value!r}: it must be of the type {kind}") from error
    check(config)
    return config

  def _run(self, X: Any) -> dict[str, np.ndarray]:
    check_is_fitted(self, "params_")
    raw = tabular.raw_inputs(self.encoding_, as_table(X, source="the data given to transform"))
    outputs = jax.jit(functools.partial(encode, self.game_))(self.params_, **raw)
    return {name: np.asarray(x) for name, x in outputs.items()}


def _used(content: Mapping[str, Any]) -> set[str]:
  return {c for role in ("numeric", "log_numeric", "categorical", "drop") for c in content.get(role) or ()}


def _check_once(settings: Mapping[str, Any], arguments: Sequence[str]) -> None:
  """Refuses two values for one setting: settings that are arguments, too, or are written in two ways."""
  seen: set[str] = set()
  for name in (full for key, value in settings.items() for full in flat({key: value})):
    if name in arguments:
      argument = "random_state" if name == "seed" else name
      raise ValueError(f"settings have '{name}', which is an argument, too: give {argument}=... instead")
    if name in seen:
      raise ValueError(f"settings have '{name}' twice, as a dotted and as a nested key: keep one")
    seen.add(name)


def _plain(value: Any) -> Any:
  """numpy's scalars and arrays, and lists, as a config holds them."""
  value = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
  return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _seed(random_state: Any) -> int:
  """A seed from what scikit-learn calls a random state: a number, None, or a generator of numpy.

  Raises:
    ValueError: anything else.
  """
  if random_state is None:
    return int(np.random.default_rng().integers(2**31))
  if isinstance(random_state, np.random.RandomState):
    return int(random_state.randint(2**31 - 1))
  if isinstance(random_state, np.random.Generator):
    return int(random_state.integers(2**31))
  if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
    return int(random_state)
  raise ValueError(
    f"random_state is {random_state!r}: give a whole number, None, a numpy RandomState or Generator"
  )
