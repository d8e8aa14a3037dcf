"""The card of a shipped optimizer: what it was trained on, how it did, and where it did badly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np


def card(
  name: str, config: Any, state: Mapping[str, Any], results: Sequence[Mapping[str, str]], *, command: str
) -> dict:
  """JSON-able facts of a meta-trained optimizer.

  Args:
    name: under which it ships; its rows in `results` have this label.
    config: of the meta-training run.
    state: of its newest checkpoint.
    results: rows of the table.csv that launch/l2o/optimize.py writes; may be empty.
    command: that trains it again.
  """
  own = [row for row in results if row["optimizer"] == name]
  updates = config.unroll_length * config.meta_batch
  return {
    "name": name,
    "optimizer": config.optimizer.to_dict(),
    "weights": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(state["kept"])),
    "trained on": {
      "optimizee": config.optimizee.name,
      "batch size": config.optimizee.batch_size,
      "lengths": list(config.stages),
      "imitation": config.imitation.to_dict() if any(config.imitation.ratio) else None,
      "unroll length": config.unroll_length,
      "validation": config.validation.to_dict(),
      "meta-optimizer": config.meta.to_dict(),
    },
    "training": {
      "seed": config.seed,
      "inner steps": int(state["inner_steps"]),
      "epochs": int(state["epoch"]),
      "imitation epochs": int(state["imitations"]),
      "meta-updates": int(state["inner_steps"]) // updates - int(state["skipped"]),
      "updates skipped as not finite": int(state["skipped"]),
      "validations": int(state["validations"]),
      "last stage": int(state["curriculum"].stage),
      "best validation cost": float(state["curriculum"].best),
      "complete": bool(state["over"]),
    },
    "evaluation": [_evaluation(row) for row in own],
    "limits": [*_limits(own), _horizon(config)],
    "command": command,
    "evaluated by": "launch/l2o/optimize.py, see vita_jax/papers/l2o/README.md" if own else "nothing yet",
    "licence": "Apache-2.0",
  }


def _evaluation(row: Mapping[str, str]) -> dict[str, Any]:
  number = lambda name: float(row[name]) if row[name] else None  # noqa: E731
  found = {
    "task": row["task"],
    "steps": int(row["steps"]),
    "seeds": [int(seed) for seed in row["seeds"].split()],
    "diverged": int(row["diverged"]),
    "final ln loss": {"mean": number("ln_loss_mean"), "std": number("ln_loss_std")},
    "held-out accuracy": {"mean": number("accuracy_mean"), "std": number("accuracy_std")},
  }
  if row["difference"]:
    interval = [number("difference_low"), number("difference_high")]
    found[f"minus {row['reference']}"] = {"mean": number("difference"), "95 % interval": interval}
  return found


def _limits(rows: Sequence[Mapping[str, str]]) -> list[str]:
  found = []
  for row in rows:
    if int(row["diverged"]):
      found.append(f"{row['task']}: {row['diverged']} of {len(row['seeds'].split())} seeds diverged")
    if row["difference"] and float(row["difference"]) > 0:
      mean, low, high = (float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
      above = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
      found.append(f"{row['task']}: final ln loss above that of {row['reference']} by {above}")
  return found


def _horizon(config: Any) -> str:
  return (
    f"trained on one problem ({config.optimizee.name}, batches of {config.optimizee.batch_size}) and on at"
    f" most {max(config.stages)} steps: other problems and longer runs are extrapolation"
  )
