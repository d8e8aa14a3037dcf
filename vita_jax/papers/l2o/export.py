"""What a user takes away: theta, a program from gradients to updates, and the card of what ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vita_jax.data.files import read_npz
from vita_jax.optim import KINDS
from vita_jax.optim.by_name import Optimizer
from vita_jax.optim.facts import cautions, facts
from vita_jax.optim.library import options_of
from vita_jax.train.experiment import Exported


def make_export(kind: str, options: Mapping[str, Any], theta: Any, trained_on: Mapping[str, Any]) -> Exported:
  """Returns the exported form of a trained optimizer; `vita_jax.optim.load_learned` loads the same folder."""

  def program(theta, *, gradients, x):
    tx = KINDS[kind].build(theta, **options)

    def step(carry, gradient):
      x, state = carry
      update, state = tx.update(gradient, state, x)
      return (x + update, state), update

    (x, _), updates = jax.lax.scan(step, (x, tx.init(x)), gradients)
    return {"updates": updates, "x": x}

  return Exported(
    params=theta,
    program=program,
    inputs={"gradients": ("steps, coordinates", "float32"), "x": ("coordinates", "float32")},
    read=read_gradients,
    card={
      "optimizer": {"kind": kind, **options},
      "inputs": {
        "gradients": "one row per step, of one tensor of parameters",
        "x": "the parameters before the first step (l2o_mlp and vita_mlp read them)",
      },
      "outputs": {"updates": "to be added, float32 [steps, coordinates]", "x": "after the last step"},
      "trained on": {**trained_on, "weights": _count(theta)},
    },
  )


def read_gradients(path: str) -> dict[str, np.ndarray]:
  """Reads the program's inputs from an npz: `gradients` [steps, coordinates], and `x` or zeros.

  Raises:
    ValueError: an array is missing or of another shape.
  """
  arrays = read_npz(path)
  if "gradients" not in arrays or arrays["gradients"].ndim != 2:
    raise ValueError(f"{path} needs an array 'gradients' [steps, coordinates]; it has {sorted(arrays)}")
  gradients = arrays["gradients"].astype(np.float32)
  x = arrays.get("x", np.zeros(gradients.shape[1], np.float32)).astype(np.float32)
  if x.shape != gradients.shape[1:]:
    raise ValueError(f"{path}: 'x' has shape {x.shape}, expected {gradients.shape[1:]}")
  return {"gradients": gradients, "x": x}


def card(
  name: str, config: Any, state: Mapping[str, Any], results: Sequence[Mapping[str, str]], *, command: str
) -> dict:
  """Returns JSON-able facts of a meta-trained optimizer: training, evaluation, and where it did badly.

  Args:
    name: under which it ships; its rows in `results` are labelled "TASK NAME".
    config: of the meta-training run.
    state: of its newest checkpoint.
    results: rows of the table.csv that launch/l2o/optimize.py writes; may be empty.
    command: that trains it again.
  """
  own = [row for row in results if row["label"].partition(" ")[2] == name]
  options = options_of(config.optimizer)
  in_use = facts(Optimizer(config.optimizer.kind, state["kept"], options))
  updates = config.unroll_length * config.meta_batch
  return {
    "name": name,
    "optimizer": {"kind": config.optimizer.kind, **options},
    "weights": _count(state["kept"]),
    "trained on": {
      "optimizee": _problems(config),
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
    "in use": in_use,
    "limits": [*_limits(own), _horizon(config)],
    "when not to use": cautions(in_use, longest=max(config.stages)),
    "command": command,
    "evaluated by": "launch/l2o/optimize.py, see vita_jax/papers/l2o/README.md" if own else "nothing yet",
    "licence": "Apache-2.0",
  }


def _count(theta: Any) -> int:
  return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(theta))


def _number(text: str) -> float | None:
  return float(text) if text else None


def _evaluation(row: Mapping[str, str]) -> dict[str, Any]:
  found = {
    "task": _task(row),
    "steps": int(float(row["steps_mean"])),
    "seeds": int(row["seeds"]),
    "diverged": int(row["diverged"]),
    "final ln loss": {"mean": _number(row["mean"]), "std": _number(row["std"])},
    "held-out accuracy": {"mean": _number(row["accuracy_mean"]), "std": _number(row["accuracy_std"])},
  }
  if row["difference"]:
    interval = [_number(row["difference_low"]), _number(row["difference_high"])]
    found[f"minus {_reference(row)}"] = {"mean": _number(row["difference"]), "95 % interval": interval}
  return found


def _limits(rows: Sequence[Mapping[str, str]]) -> list[str]:
  found = []
  for row in rows:
    if int(row["diverged"]):
      found.append(f"{_task(row)}: {row['diverged']} of {row['seeds']} seeds diverged")
    if row["difference"] and float(row["difference"]) > 0:
      mean, low, high = (float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
      above = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
      found.append(f"{_task(row)}: final ln loss above that of {_reference(row)} by {above}")
  return found


def _task(row: Mapping[str, str]) -> str:
  return row["label"].partition(" ")[0]


def _reference(row: Mapping[str, str]) -> str:
  return row["baseline"].partition(" ")[2]


def _problems(config: Any) -> Any:
  return list(config.mixture.tasks) or config.optimizee.name


def _horizon(config: Any) -> str:
  problems = _problems(config)
  what = f"one problem ({problems}, " if isinstance(problems, str) else f"{len(problems)} problems ("
  return (
    f"trained on {what}batches of {config.optimizee.batch_size}) and on at"
    f" most {max(config.stages)} steps: other problems and longer runs are extrapolation"
  )
