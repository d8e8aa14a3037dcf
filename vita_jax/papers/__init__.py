"""The papers. Each folder has `build(config) -> Experiment`; papers never import each other."""

from __future__ import annotations

import importlib
from typing import Any

from vita_jax._lazy import submodules
from vita_jax.base.choose import choose
from vita_jax.base.keys import Key

# The one list that a new paper is added to.
PAPERS = (
  "adv_logo",
  "asg",
  "autopose",
  "bert_tickets",
  "gan_slimming",
  "l2o",
  "mm_hand",
  "pcal",
  "self_pu",
  "ss_gcn",
)
__all__ = ["PAPERS", "build", "check", "keys", *PAPERS]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any) -> Any:
  """Builds the experiment of the paper that `config.paper` names.

  Raises:
    ValueError: no such paper.
  """
  return _module(config.paper).build(config)


def check(config: Any) -> None:
  """Checks a config as its paper does, without data.

  Raises:
    ValueError: no such paper, or a value that a key cannot have.
  """
  _module(config.paper)
  importlib.import_module(f"vita_jax.papers.{config.paper}.recipe").check(config)


def keys(paper: str) -> tuple[Key, ...]:
  """Returns the table of a paper's own config keys (`papers/<paper>/recipe.py`).

  Raises:
    ValueError: no such paper.
  """
  choose("config.paper", paper, PAPERS)
  return importlib.import_module(f"vita_jax.papers.{paper}.recipe").KEYS


def _module(paper: str) -> Any:
  return importlib.import_module(f"vita_jax.papers.{choose('config.paper', paper, PAPERS)}")
