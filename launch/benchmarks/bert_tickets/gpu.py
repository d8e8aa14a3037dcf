"""The step of BERT tickets that `make gpu` times: a fine-tuning step of MiniLM's size on random ids."""

from __future__ import annotations

import functools

from benchmarks.bert_tickets.steps import prepare
from benchmarks.one_step import Step


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: for a CPU."""
  model, batch, length = ("micro", 4, 16) if small else ("minilm_l3", 256, 128)
  make = functools.partial(prepare, model, 0.0, batch=batch, length=length)
  return [Step(f"bert_tickets, {model}, {batch} x {length}", make)]
