"""The settings of Self-PU: every key with its rule and meaning, the ladder of methods, what steps read."""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_collections

from vita_jax import base
from vita_jax.base.keys import Key, Rule, any_path, at_least, between, boolean, each, half_open, one_of
from vita_jax.data.pu_split import SCENARIOS
from vita_jax.train.config import KEYS as SHARED

DATA = ("digits", "mnist", "cifar10", "tabular", "volumes")
OWN_ROWS = ("tabular", "volumes")
MODELS = ("mlp", "cnn", "volumes")
# Each rung adds one block to the one before; pn_oracle is the bound: the true labels of the unlabelled rows.
ONE_STUDENT = {"self_paced.paces": (0.5,)}
LADDER: dict[str, dict[str, Any]] = {
  "pn_oracle": {"risk.kind": "oracle", **ONE_STUDENT},
  "pn_naive": {"risk.kind": "naive", **ONE_STUDENT},
  "upu": {"risk.kind": "upu", **ONE_STUDENT},
  "nnpu": ONE_STUDENT,
  "self_paced": {"self_paced.enabled": True, **ONE_STUDENT},
  "self_calibrated": {"self_paced.enabled": True, "calibration.enabled": True, **ONE_STUDENT},
  "self_pu": {"self_paced.enabled": True, "calibration.enabled": True, "distillation.enabled": True},
}
METHODS = tuple(LADDER)
FAULTS = ("consistency_softmax", "flipped_entropy", "budget_total", "sorted_first_epoch", "rate_ahead")
# What the released code does where it differs from the paper (README, "Deviations").
RELEASED = {
  "self_paced.adjust_prior": False,
  "calibration.meta": "entropy",
  "distillation.mining": "batch",
  **{f"released.{name}": True for name in FAULTS},
}

_WIDTHS = each("whole numbers from 1 on", lambda width: type(width) is int and width > 0)
_PACES = Rule("one or two shares above 0 up to 1", lambda v: len(v) in (1, 2) and 0 < min(v) <= max(v) <= 1)
_SHARE = half_open(0, 1)
_RISKS, _TARGETS = ("oracle", "naive", "upu", "nnpu"), ("entropy", "stored", "hard")

KEYS = (
  Key("method", "self_pu", one_of(*METHODS), "The rung; give it as the config's argument."),
  Key("data.name", "", one_of(*DATA), "Where the rows come from."),
  Key("data.path", "", any_path, "Your own rows: a CSV file (tabular) or an npz file (volumes)."),
  Key("data.test_path", "", any_path, "CSV file of rows with true classes to test on; empty: none."),
  Key("data.schema", "", any_path, "JSON file that says what the columns of your CSV are for."),
  Key("data.scenario", SCENARIOS[0], one_of(*SCENARIOS), "Your labelled rows: of the sample, or apart."),
  Key("data.n_labelled", 1000, at_least(1), "Labelled rows to train on, where labels are drawn."),
  Key("prior", 0.49, _SHARE, "Share of positives among the unlabelled rows; 0: estimate (own table)."),
  Key("model.kind", "mlp", one_of(*MODELS), "MLP, 13-layer CNN, or 3-branch CNN of brain volumes."),
  Key("model.hidden", (300, 300, 300, 300), _WIDTHS, "Widths of the MLP's hidden layers."),
  Key("batch_size", 256, at_least(0), "Rows in a batch of one student; 0: 256, or what suits a small table."),
  Key("epochs", 200, at_least(1), "Passes over the labelled rows."),
  Key("learning_rate", 5e-4, at_least(0), "Adam's rate at the start; a cosine takes it to 0."),
  Key("weight_decay", 5e-3, at_least(0), "L2 coefficient in Adam's gradient, all parameters."),
  Key("risk.kind", "nnpu", one_of(*_RISKS), "What the rows of a batch are trained on."),
  Key("risk.beta", 0.0, at_least(0), "nnPU corrects a negative risk below -beta."),
  Key("risk.gamma", 1.0, at_least(0), "Factor of nnPU's step up the negative risk."),
  Key("risk.balance", 0.0, _SHARE, "Share of positives to train for; 0: the prior."),
  Key("validation.rows", 1000, at_least(0), "Rows held out of training; 0: a fifth, at most 1,000."),
  Key("validation.labelled", 100, at_least(1), "Held-out labelled rows, where labels are drawn."),
  Key("self_paced.enabled", False, boolean, "Trust the most confident unlabelled rows."),
  Key("self_paced.paces", (0.4, 0.6), _PACES, "Pace of each student's trusted set; one or two."),
  Key("self_paced.start", 10, at_least(0), "Selections follow the epochs start, start + every, ..."),
  Key("self_paced.stop", 50, at_least(0), "... below stop."),
  Key("self_paced.every", 10, at_least(1), "Epochs between two selections."),
  Key("self_paced.form", "released", one_of("released", "linear"), "How trusted sets grow."),
  Key("self_paced.rho", 0.5, between(0, 1), "The released form trusts 1 - rho of the pace."),
  Key("self_paced.increasing", True, boolean, "False: trusted sets do not grow."),
  Key("self_paced.replacement", True, boolean, "Select anew every time; False: in only."),
  Key("self_paced.soft_target", "entropy", one_of(*_TARGETS), "Targets of trusted rows."),
  Key("self_paced.adjust_prior", True, boolean, "Train the rest with the prior of the rest."),
  Key("calibration.enabled", False, boolean, "Weigh the risk against entropy, row by row."),
  Key("calibration.start", 10, at_least(0), "First epoch of calibration."),
  Key("calibration.stop", 50, at_least(0), "Epoch before which calibration ends."),
  Key("calibration.meta", "clean", one_of("clean", "entropy"), "Validation loss: true classes or none."),
  Key("calibration.rate", 1e-3, at_least(0), "Length of the virtual SGD step."),
  Key("calibration.budget", 1 / 16, between(0, 1), "Share of a batch that may go to entropy."),
  Key("distillation.enabled", False, boolean, "Students and teachers teach each other."),
  Key("distillation.start", 50, at_least(1), "First epoch of distillation."),
  Key("distillation.students", True, boolean, "The two students teach each other."),
  Key("distillation.teachers", True, boolean, "Averages of the students teach them."),
  Key("distillation.mining", "sample", one_of("sample", "batch"), "What a hard example is."),
  Key("distillation.alpha", 0.1, at_least(0), "Hard: loss above alpha times the distance."),
  Key("distillation.consistency", 0.3, at_least(0), "Weight of the teachers after its ramp."),
  Key("distillation.ramp_length", 400.0, at_least(1), "Epochs of the ramp."),
  Key("distillation.ramp_shift", 30.0, at_least(0), "Epoch at which the ramp starts."),
  Key("distillation.ema_every", "pass", one_of("pass", "step"), "Average twice an epoch, or every step."),
  Key("distillation.ema_decay", 0.999, between(0, 1), "Most that an average keeps of itself."),
  Key("choose.criterion", "pu_risk", one_of("pu_risk", "clean_accuracy"), "On validation rows."),
  Key("choose.last_epochs", 0, at_least(0), "How many of the last epochs count; 0: all."),
  *(Key(f"released.{name}", False, boolean, "See README, Deviations.") for name in FAULTS),
)


def default_config(data: str, method: str = "self_pu", **settings: Any) -> ml_collections.ConfigDict:
  """Returns the paper's settings (section 5) for one data set and one method.

  Args:
    data: one of `DATA`.
    method: one of `METHODS`.
    settings: dotted name (with "__" for ".") -> value that this data set has.

  Raises:
    ValueError: an unknown method.
  """
  method = base.choose("method", method or "self_pu", METHODS)
  config = base.defaults(SHARED, KEYS)
  config.update({"paper": "self_pu", "method": method, "log_every": 200, "data": {"name": data}})
  changes = {name.replace("__", "."): value for name, value in settings.items()}
  config.update_from_flattened_dict({**changes, **LADDER[method]})
  return config


def check(config: Any) -> None:
  """Checks what can be said of a Self-PU config before any data is read.

  Raises:
    ValueError: a value that a key cannot have, or two that do not go together.
  """
  base.check(config, SHARED, KEYS)
  if config.init_from:
    raise ValueError("config.init_from is not for Self-PU, whose exported weights are those of one student")
  if config.prior == 0 and config.data.name not in OWN_ROWS:
    raise ValueError("config.prior is 0: it is estimated for your own table only, and must be above 0 here")
  if config.calibration.enabled and config.risk.kind not in ("upu", "nnpu"):
    raise ValueError(
      f"config.calibration weighs a PU risk: config.risk.kind is {config.risk.kind}, wanted upu or nnpu"
    )
  if config.distillation.enabled and config.distillation.start >= config.epochs:
    raise ValueError(
      f"config.distillation.start {config.distillation.start} is not before config.epochs {config.epochs}"
    )
  base.check_preset(config, "method", {**LADDER, "self_pu": {}})  # its blocks may be left out


class Data(NamedTuple):
  """Keys `data.*`."""

  name: str
  path: str
  test_path: str
  schema: str
  scenario: str
  n_labelled: int


class Risk(NamedTuple):
  """Keys `risk.*`; `balance` is None where it is off."""

  kind: str
  beta: float
  gamma: float
  balance: float | None


class SelfPaced(NamedTuple):
  """Keys `self_paced.*`."""

  enabled: bool
  paces: tuple[float, ...]
  start: int
  stop: int
  every: int
  form: str
  rho: float
  increasing: bool
  replacement: bool
  soft_target: str
  adjust_prior: bool


class Calibration(NamedTuple):
  """Keys `calibration.*`."""

  enabled: bool
  start: int
  stop: int
  meta: str
  rate: float
  budget: float


class Distillation(NamedTuple):
  """Keys `distillation.*`."""

  enabled: bool
  start: int
  students: bool
  teachers: bool
  mining: str
  alpha: float
  consistency: float
  ramp_length: float
  ramp_shift: float
  ema_every: str
  ema_decay: float


class Recipe(NamedTuple):
  """The settings as plain values, checked; `KEYS` says what each one means.

  `released` holds the names of the faults of the released code that are switched on.
  """

  method: str
  dtype: str
  data: Data
  prior: float
  model: str
  hidden: tuple[int, ...]
  batch_size: int
  epochs: int
  learning_rate: float
  weight_decay: float
  risk: Risk
  validation_rows: int
  validation_labelled: int
  self_paced: SelfPaced
  calibration: Calibration
  distillation: Distillation
  criterion: str
  last_epochs: int
  released: frozenset[str]

  @property
  def students(self) -> int:
    """How many students there are: one per pace."""
    return len(self.self_paced.paces)


def recipe_of(config: Any) -> Recipe:
  """Returns the settings of a config that `check` accepts.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  return Recipe(
    method=config.method,
    dtype=config.dtype,
    data=Data(**config.data),
    prior=config.prior,
    model=config.model.kind,
    hidden=tuple(config.model.hidden),
    batch_size=config.batch_size,
    epochs=config.epochs,
    learning_rate=config.learning_rate,
    weight_decay=config.weight_decay,
    risk=Risk(**{**config.risk, "balance": config.risk.balance or None}),
    validation_rows=config.validation.rows,
    validation_labelled=config.validation.labelled,
    self_paced=SelfPaced(**{**config.self_paced, "paces": tuple(config.self_paced.paces)}),
    calibration=Calibration(**config.calibration),
    distillation=Distillation(**config.distillation),
    criterion=config.choose.criterion,
    last_epochs=config.choose.last_epochs,
    released=frozenset(name for name, on in config.released.items() if on),
  )
