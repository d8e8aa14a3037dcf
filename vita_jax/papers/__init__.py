"""The papers. Each folder has `build(config) -> Experiment`; papers never import each other."""

from __future__ import annotations

import importlib
from typing import Any

PAPERS = {
  "bert_tickets": "vita_jax.papers.bert_tickets",
  "l2o": "vita_jax.papers.l2o",
  "self_pu": "vita_jax.papers.self_pu",
  "pcal": "vita_jax.papers.pcal",
  "ss_gcn": "vita_jax.papers.ss_gcn",
}


def build(config: Any) -> Any:
  """The experiment of the paper that `config.paper` names.

  Raises:
    ValueError: no such paper.
  """
  if config.paper not in PAPERS:
    raise ValueError(f"unknown config.paper '{config.paper}': choose one of {', '.join(PAPERS)}")
  return importlib.import_module(PAPERS[config.paper]).build(config)
