"""The engine room: one loop runs every experiment. No paper is named here."""

from vita_jax.train.config import base_config
from vita_jax.train.errors import Interrupted, RunError
from vita_jax.train.experiment import (
  Eval,
  Experiment,
  Exported,
  Report,
  Stage,
  keep,
  keep_best,
  never,
)
from vita_jax.train.loop import run
from vita_jax.train.replicate import replica, replicate

__all__ = [
  "Eval",
  "Experiment",
  "Exported",
  "Interrupted",
  "Report",
  "RunError",
  "Stage",
  "base_config",
  "keep",
  "keep_best",
  "never",
  "replica",
  "replicate",
  "run",
]
