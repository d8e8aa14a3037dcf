"""The engine room: one loop runs every experiment. No paper is named here."""

from typing import Any

from vita_jax._lazy import submodules
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

_module, __dir__ = submodules(__name__)


def __getattr__(name: str) -> Any:
  if name == "run":  # orbax is slow to import, and a paper's pieces do not need it
    from vita_jax.train.loop import run

    return run
  return _module(name)
