"""The settings of PCAL: every key with its default, rule and meaning, and what they resolve to.

The defaults are the suite's; the paper's are not known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_collections

from vita_jax import base
from vita_jax.audit.attackers import KINDS
from vita_jax.audit.baselines import BASELINES, REFERENCES
from vita_jax.audit.protocol import DUPLICATES, SPLITS, Options
from vita_jax.base.keys import Key, above, any_path, at_least, between, each, flat, half_open, one_of, text
from vita_jax.data.credit import SCHEMAS
from vita_jax.papers.pcal.losses import LOSSES, REDUCTIONS
from vita_jax.train.config import KEYS as SHARED_KEYS

METHODS = ("pcal", "autoencoder", *BASELINES, *REFERENCES)
VARIANTS = ("include", "exclude", "exclude_all")


widths = each("a tuple of layer widths of at least 1", lambda width: type(width) is int and width >= 1)
_NAMES = each("names", lambda name: isinstance(name, str) and name != "")
networks = each(
  "a tuple with, for each adversary, a tuple of layer widths of at least 1", widths.holds, least=1
)

KEYS = (
  Key("data.name", "", one_of("", *SCHEMAS), "A table that ships; empty: data.path."),
  Key("data.path", "", any_path, "A CSV file of your own."),
  Key("data.schema", "", any_path, "A JSON file that says what each column of data.path is for."),
  Key(
    "data.group",
    "",
    text("a name, or empty"),
    "Column whose equal values, e.g. a person, are on one side of the split.",
  ),
  Key("attributes", (), _NAMES, "Names of the private attributes to hide; empty: all of the schema."),
  Key(
    "variant",
    "exclude",
    one_of(*VARIANTS),
    "Private columns among the inputs: all of them, all but those attacked, none of the schema's.",
  ),
  Key("method", "pcal", one_of(*METHODS), "The game, or a baseline (vita_jax/audit/baselines.py)."),
  Key("strength", 0.0, at_least(0), "What a baseline may be given: noise, epsilon, bins, rounds, threshold."),
  Key("gamma", 1.0, at_least(0), "Weight of the privacy risk against the utility loss."),
  Key("loss", "neg_xent", one_of(*LOSSES), "The privacy risk (vita_jax/papers/pcal/losses.py)."),
  Key("reduction", "max", one_of(*REDUCTIONS), "Of the ensemble's risks, per sample."),
  Key("encoder_widths", (64, 32), widths, "Hidden widths of the encoder."),
  Key("latent", 8, at_least(1), "Width of the representation."),
  Key("dropout", 0.5, half_open(0, 1), "Share of the encoder's hidden units that is zeroed, in training."),
  Key("noise", 0.5, at_least(0), "Std of the noise on the normalised representation, always there."),
  Key("head_widths", (32,), widths, "Hidden widths of the utility head."),
  Key("batch_size", 512, at_least(2), "Rows of a batch, drawn with replacement."),
  Key("pretrain_steps", 300, at_least(0), "Steps of encoder and head on the utility loss alone."),
  Key("steps", 3000, at_least(1), "Steps of the game: one of encoder and head, then the adversaries'."),
  Key("refit_steps", 500, at_least(1), "Steps of a new head on the frozen encoder."),
  Key("eval_every", 500, at_least(0), "Steps between losses on validation rows; 0: at a stage's end."),
  Key("learning_rate", 1e-3, above(0), "Adam's; falls to a tenth over the last 30 % of the game."),
  Key("refit_learning_rate", 1e-2, above(0), "Adam's when the head is refitted; falls to 0."),
  Key("head_weight_decay", 1e-4, at_least(0), "Of the utility head."),
  Key(
    "adversary.widths",
    ((), (64,), (64, 64), (128, 128)),
    networks,
    "Hidden widths of each adversary of the ensemble; () is a linear one.",
  ),
  Key("adversary.steps", 5, at_least(0), "Steps of the adversaries for each of the encoder."),
  Key("adversary.learning_rate", 2e-3, above(0), "Adam's, of the adversaries."),
  Key("restart.every", 500, at_least(0), "Steps between restarts with new adversaries; 0: never."),
  Key("restart.steps", 100, at_least(0), "Steps that new adversaries are trained alone."),
  Key("restart.until", 0.8, between(0, 1), "Share of the game after which no restart comes."),
  Key("monitor.utility", 0.0, between(0, 1), "AUC on a batch below which utility steps are added."),
  Key("monitor.utility_steps", 0, at_least(0), "How many utility steps may be added to a step."),
  Key("monitor.adversary", 1.0, between(0, 1), "Accuracy from which an adversary's step is left out."),
  Key(
    "select",
    "last",
    one_of("last", "validation"),
    "The last encoder, or that with the least L_T + gamma leak on validation rows, by new adversaries.",
  ),
  Key("audit.attackers", "all", one_of(*KINDS), "All, or logistic, boosting, neighbours and an MLP."),
  Key("audit.attacker_split", "train", one_of(*SPLITS), "Rows attackers learn from: the encoder's, others."),
  Key("audit.attacker_rows", 0, at_least(0), "At most so many rows for attackers to learn from; 0: all."),
  Key("audit.test_rows", 0, at_least(0), "At most so many rows to score them on; 0: all."),
  Key(
    "audit.duplicates",
    "together",
    one_of(*DUPLICATES),
    "Equal and nearly equal rows of the representation: on one side of the split, or anywhere.",
  ),
  Key("audit.n_jobs", 0, at_least(0), "Processes of the audit; 0: one per core."),
)


class Recipe(NamedTuple):
  """How a run trains and is audited: the config, checked and resolved.

  Attributes that are not listed are the config's keys, dots as underscores; `KEYS` has their meanings.

  Attributes:
    grouped: whether a column says which rows stay on one side of the split.
    restart_until: the last step at which a restart may come.
    judges: whether the encoder is chosen on validation rows.
    dtype: of the computation.
    audit: options of the audit.
  """

  method: str
  variant: str
  grouped: bool
  strength: float
  gamma: float
  loss: str
  reduction: str
  encoder_widths: tuple[int, ...]
  latent: int
  dropout: float
  noise: float
  head_widths: tuple[int, ...]
  batch_size: int
  pretrain_steps: int
  steps: int
  refit_steps: int
  eval_every: int
  learning_rate: float
  refit_learning_rate: float
  head_weight_decay: float
  adversary_widths: tuple[tuple[int, ...], ...]
  adversary_steps: int
  adversary_learning_rate: float
  restart_every: int
  restart_steps: int
  restart_until: int
  monitor_utility: float
  monitor_utility_steps: int
  monitor_adversary: float
  judges: bool
  dtype: Any
  audit: Options


def default_config(data: str, attributes: tuple[str, ...]) -> ml_collections.ConfigDict:
  """Returns the suite's settings for a named data set, or "" for a user's CSV.

  Args:
    data: "credit/taiwan", "credit/german" or "".
    attributes: names of the private attributes to hide; () for all of the schema.
  """
  config = base.defaults(SHARED_KEYS, KEYS)
  config.paper, config.data.name, config.attributes = "pcal", data, attributes
  return config


def check(config: Any) -> None:
  """Checks every key of a config, and those that exclude each other.

  Raises:
    ValueError: names the key, its value and what it may be.
  """
  base.check(config, SHARED_KEYS, KEYS)
  if config.method == "drop" and config.variant == "include":
    raise ValueError("method 'drop' with variant 'include' drops nothing: take 'exclude', or method 'raw'")
  if config.method == "raw" and config.variant != "include":
    raise ValueError(
      f"method 'raw' with variant '{config.variant}' is not raw: take 'include', or method 'drop'"
    )


def recipe_of(config: Any) -> Recipe:
  """Resolves a config.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  values: dict[str, Any] = {name.replace(".", "_"): value for name, value in flat(config).items()}
  resolved: dict[str, Any] = {
    "encoder_widths": tuple(config.encoder_widths),
    "head_widths": tuple(config.head_widths),
    "adversary_widths": tuple(tuple(one) for one in config.adversary.widths),
    "restart_until": int(config.restart.until * config.steps),
    "grouped": bool(config.data.group),
    "judges": config.select == "validation",
    "dtype": jnp.dtype(config.dtype),
    "audit": Options(**config.audit),
  }
  values |= resolved
  return Recipe(**{name: values[name] for name in Recipe._fields})
