"""The configuration that all Self-PU experiments share, and the methods as choices of its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_collections

from vita_jax.base.choose import choose
from vita_jax.papers.self_pu import choose as choosing
from vita_jax.papers.self_pu import distil, split, steps
from vita_jax.train.config import base_config, check_at_least

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
# What the released code does where it differs from the paper (README, "Deviations").
RELEASED = {
  "self_paced.adjust_prior": False,
  "calibration.meta": "entropy",
  "distillation.mining": "batch",
  "released.consistency_softmax": True,
  "released.flipped_entropy": True,
  "released.budget_total": True,
  "released.sorted_first_epoch": True,
  "released.rate_ahead": True,
}
AT_LEAST = {
  "epochs": 1,
  "batch_size": 2,
  "learning_rate": 0,
  "weight_decay": 0,
  "data.n_labelled": 1,
  "validation.rows": 1,
  "validation.labelled": 1,
  "risk.beta": 0,
  "risk.gamma": 0,
  "risk.balance": 0,
  "self_paced.start": 0,
  "self_paced.every": 1,
  "self_paced.rho": 0,
  "calibration.rate": 0,
  "calibration.budget": 0,
  "distillation.start": 1,
  "distillation.alpha": 0,
  "distillation.consistency": 0,
  "distillation.ramp_length": 1,
  "distillation.ema_decay": 0,
  "choose.last_epochs": 0,
}
AT_MOST = {"self_paced.rho": 1, "calibration.budget": 1, "distillation.ema_decay": 1}


def default_config(data: str, method: str = "self_pu", **settings: Any) -> ml_collections.ConfigDict:
  """The paper's settings (section 5) for one data set and one method.

  Args:
    data: one of `inputs.NAMES`.
    method: one of `METHODS`.
    settings: dotted name (with "__" for ".") -> value that this data set has.
  """
  method = choose("method", method or "self_pu", METHODS)
  config = base_config()
  config.update(
    {
      "paper": "self_pu",
      "method": method,  # a name; what it means are the blocks below
      "log_every": 200,
      "data": {
        "name": data,
        "path": "",  # a user's own rows
        "test_path": "",
        "schema": "",
        # whether a user's labelled rows are part of the sample, or the unlabelled ones a sample of their own
        "scenario": "single_training_set",
        "n_labelled": 1000,  # labelled positives to train on, where labels are drawn from known classes
      },
      "prior": 0.49,  # share of positives among the unlabelled rows; 0 estimates it (data with given labels)
      "model": {"kind": "mlp", "hidden": (300, 300, 300, 300)},
      "batch_size": 256,
      "epochs": 200,
      "learning_rate": 5e-4,  # Adam, cosine to 0
      "weight_decay": 5e-3,  # L2, inside Adam's gradient, on all parameters
      # kind: oracle | naive | upu | nnpu. beta, gamma: of nnPU. balance: π' of the imbalanced variant, 0: off
      "risk": {"kind": "nnpu", "beta": 0.0, "gamma": 1.0, "balance": 0.0},
      # rows that are taken out of the training rows, and how many of their positives a PU criterion may know
      "validation": {"rows": 1000, "labelled": 100},
      "self_paced": {
        "enabled": False,
        "paces": (0.4, 0.6),  # one student each
        "start": 10,  # selections after the epochs start, start + every, ... below stop
        "stop": 50,
        "every": 10,
        "form": "released",  # of the schedule of sizes: released | linear (schedule.trusted_fraction)
        "rho": 0.5,
        "increasing": True,
        "replacement": True,  # chosen anew every time: in and out; False: in only
        "soft_target": "entropy",  # entropy | stored | hard
        "adjust_prior": True,  # of the rows that are left when the trusted ones are taken out
      },
      # meta: clean (cross-entropy with the true labels of the validation rows) | entropy (without labels)
      "calibration": {
        "enabled": False,
        "start": 10,
        "stop": 50,
        "meta": "clean",
        "rate": 1e-3,
        "budget": 1 / 16,
      },
      "distillation": {
        "enabled": False,
        "start": 50,
        "students": True,  # students teach each other
        "teachers": True,  # averages teach students
        "mining": "sample",  # sample | batch
        "alpha": 0.1,
        "consistency": 0.3,  # weight of the teachers, at the end of its ramp
        "ramp_length": 400.0,
        "ramp_shift": 30.0,
        "ema_every": "pass",  # twice an epoch: pass | step
        "ema_decay": 0.999,
      },
      # criterion: pu_risk | clean_accuracy, on validation rows; last_epochs: how many of the last epochs may
      # give the network, 0: any epoch may
      "choose": {"criterion": "pu_risk", "last_epochs": 0},
      # faults of the released code, each a switch (README)
      "released": {
        "consistency_softmax": False,
        "flipped_entropy": False,
        "budget_total": False,
        "sorted_first_epoch": False,
        "rate_ahead": False,
      },
    }
  )
  changes: Mapping[str, Any] = {name.replace("__", "."): value for name, value in settings.items()}
  config.update_from_flattened_dict({**changes, **LADDER[method]})
  return config


def check(config: Any) -> None:
  """Checks what can be said of a Self-PU config before any data is read.

  Raises:
    ValueError: a value that a field cannot have, or two that do not go together.
  """
  check_at_least(config, AT_LEAST)
  for name, most in AT_MOST.items():
    group, field = name.split(".")
    if config[group][field] > most:
      raise ValueError(f"config.{name} is {config[group][field]}: it has to be at most {most}")
  options = {
    "risk.kind": steps.RISKS,
    "self_paced.soft_target": steps.SOFT_TARGETS,
    "calibration.meta": ("clean", "entropy"),
    "distillation.mining": distil.MINING,
    "distillation.ema_every": ("pass", "step"),
    "choose.criterion": choosing.CRITERIA,
    "data.scenario": split.SCENARIOS,
  }
  for name, values in options.items():
    group, field = name.split(".")
    choose(f"config.{name}", config[group][field], values)
  given = config.data.name in ("tabular", "volumes")
  if not (0 < config.prior < 1 or (given and config.prior == 0)):
    remedy = "or 0 to estimate it" if given else "the share of positives among the unlabelled rows"
    raise ValueError(f"config.prior is {config.prior}: it has to be between 0 and 1, {remedy}")
  if config.risk.balance >= 1:
    raise ValueError(
      f"config.risk.balance is {config.risk.balance}: it has to be below 1 (0 switches it off)"
    )
  if config.calibration.enabled and config.risk.kind not in ("upu", "nnpu"):
    raise ValueError(
      f"config.calibration weighs a PU risk: config.risk.kind is {config.risk.kind}, wanted upu or nnpu"
    )
  paces = config.self_paced.paces
  if len(paces) not in (1, 2) or not all(0 < pace <= 1 for pace in paces):
    raise ValueError(f"config.self_paced.paces is {tuple(paces)}: one or two students, each between 0 and 1")
  if config.distillation.enabled and config.distillation.start >= config.epochs:
    raise ValueError(
      f"config.distillation.start {config.distillation.start} is not before config.epochs {config.epochs}"
    )
