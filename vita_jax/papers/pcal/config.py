"""The configuration that all PCAL experiments share."""

from __future__ import annotations

import ml_collections

from vita_jax.train.config import base_config

AT_LEAST = {
  "gamma": 0,
  "latent": 1,
  "dropout": 0,
  "noise": 0,
  "batch_size": 2,
  "pretrain_steps": 0,
  "steps": 1,
  "eval_every": 0,
  "refit_steps": 1,
  "learning_rate": 0,
  "refit_learning_rate": 0,
  "head_weight_decay": 0,
  "adversary.steps": 0,
  "adversary.learning_rate": 0,
  "restart.every": 0,
  "restart.steps": 0,
  "restart.until": 0,
  "monitor.utility_steps": 0,
  "audit.attacker_rows": 0,
  "audit.test_rows": 0,
}


def default_config(data: str, attributes: tuple[str, ...]) -> ml_collections.ConfigDict:
  """The suite's settings (the paper's are not known) for a named data set, or "" for a user's CSV.

  Args:
    data: "credit/taiwan", "credit/german" or "".
    attributes: names of the private attributes to hide; () for all of the schema.
  """
  config = base_config()
  config.update(
    {
      "paper": "pcal",
      "data": {"name": data, "path": "", "schema": ""},  # schema: a JSON file, for a CSV at `path`
      "attributes": attributes,
      # private columns among the inputs: "include" | "exclude" those attacked | "exclude_all" of the schema
      "variant": "exclude",
      # "pcal": the game; the baselines: see papers/pcal/baselines.py
      "method": "pcal",
      "strength": 0.0,  # what a baseline may be given: noise, epsilon, bins, ...
      "gamma": 1.0,  # weight of the privacy risk against the utility loss
      "loss": "neg_xent",  # neg_entropy | xent_uniform | neg_xent | kbeam | kl_prior | auto (losses.py)
      "reduction": "max",  # of the ensemble, per sample: "max" | "mean"
      "encoder_widths": (64, 32),
      "latent": 8,  # width of the representation
      "dropout": 0.5,  # share of the encoder's hidden units, in training
      "noise": 0.5,  # std of the noise on the normalised representation, in training and in use
      "head_widths": (32,),
      "batch_size": 512,
      "pretrain_steps": 300,  # of encoder and head on the utility loss alone
      "steps": 3000,  # of the game: one of encoder and head, `adversary.steps` of the adversaries
      "refit_steps": 500,  # of a new head on the frozen encoder
      "eval_every": 500,  # steps between losses on validation rows
      "learning_rate": 1e-3,  # Adam; falls to a tenth over the last 30 % of the game
      "refit_learning_rate": 1e-2,  # falls to 0
      "head_weight_decay": 1e-4,
      # hidden widths of each adversary of the ensemble; () is a linear one
      "adversary": {"widths": ((), (64,), (64, 64), (128, 128)), "steps": 5, "learning_rate": 2e-3},
      # every so many steps new adversaries with new optimizers, trained alone first; 0: never.
      # None come after the share `until` of the game.
      "restart": {"every": 500, "steps": 100, "until": 0.8},
      # up to `utility_steps` more of the utility loss while its AUC on the batch is below `utility`;
      # an adversary's step is left out where its accuracy on the batch reaches `adversary`
      "monitor": {"utility": 0.0, "utility_steps": 0, "adversary": 1.0},
      # "last", or the encoder with the least L_T + gamma leak on validation rows, by new adversaries
      "select": "last",
      "audit": {
        "attackers": "all",  # "all" | "fast" (logistic, boosting, kNN, MLP)
        "attacker_split": "train",  # attackers learn from the encoder's training rows | "disjoint": others
        "attacker_rows": 0,  # at most so many, 0: all
        "test_rows": 0,
        "n_jobs": 0,  # processes, 0: one a core
      },
    }
  )
  return config
