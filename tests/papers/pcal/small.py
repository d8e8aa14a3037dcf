"""A table that trains in seconds: two private attributes, one of them continuous, and a target."""

import numpy as np

from vita_jax.data.schema import parse_schema
from vita_jax.data.tables import as_table
from vita_jax.papers.pcal.data import make_task
from vita_jax.papers.pcal.recipe import default_config

SCHEMA = {
  "numeric": ["u", "v"],
  "log_numeric": ["amount"],
  "categorical": ["job"],
  "target": "bad == 1",
  "private": {"s": "s == 1", "wage": "log(wage)"},
  "drop": ["id"],
}


def columns(n=300, seed=0):
  """u tells the target, v tells s; `wage` goes with `amount`."""
  generator = np.random.default_rng(seed)
  s, bad = generator.integers(0, 2, n), generator.integers(0, 2, n)
  wage = np.exp(generator.normal(size=n) + 8)
  return {
    "id": np.arange(n),
    "u": generator.normal(size=n) + 2 * bad,
    "v": generator.normal(size=n) + 2 * s,
    "amount": wage * np.exp(0.5 * generator.normal(size=n)),
    "job": np.array(["a", "b", "c"])[generator.integers(0, 3, n)],
    "s": s,
    "wage": wage,
    "bad": bad,
  }


def config(**overrides):
  """Settings of seconds."""
  found = default_config("", ())
  found.update(
    {
      "encoder_widths": (8,),
      "latent": 2,
      "head_widths": (4,),
      "batch_size": 16,
      "pretrain_steps": 4,
      "steps": 12,
      "refit_steps": 4,
      "log_every": 4,
    }
  )
  found.adversary.update({"widths": ((), (4,), (4,)), "steps": 2})
  found.restart.update({"every": 4, "steps": 2})
  found.audit.update({"attackers": "fast", "n_jobs": 1})
  found.update_from_flattened_dict(overrides)
  return found


def task(n=300, **schema):
  return make_task(as_table(columns(n)), parse_schema({**SCHEMA, **schema}), attributes=(), variant="exclude")
