"""Final numbers of one seed: real and synthetic accuracy, what is left of the old task, and the decisions.

Three choices of weights stand side by side: the last, the best on synthetic hold-out, and the best on real
pictures, which is peeking and named so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.metrics.iou import confusion_matrix
from vita_jax.nn.pretrained import old_classes
from vita_jax.optim.ema import interpolate_weights
from vita_jax.optim.layerwise_files import controller_files
from vita_jax.papers.asg.controller import card_of
from vita_jax.papers.asg.data import UNKNOWN, Inputs
from vita_jax.papers.asg.losses import kl_of
from vita_jax.papers.asg.model import Nets, Seen, see, start_of, teach
from vita_jax.papers.asg.recipe import Recipe
from vita_jax.papers.asg.stages import chosen
from vita_jax.report.layerwise import policy_csv, policy_figure
from vita_jax.report.segments import segment_figure
from vita_jax.train.experiment import Evaluate, Metrics, Report, State, Sweep

Tree = Any
OF_CLASS, OVERLAP = "class_", "iou_"  # how the metrics of one class begin
PEEKING = "peeking"
SHOWN = 6  # scenes of which the segments are drawn
_OLD = ("old_head_accuracy", "teacher_old_head_accuracy")


def final_weights(recipe: Recipe, nets: Nets, state: State) -> Tree:
  """Returns the weights that are final: those selected, averaged where the method says so."""
  params = chosen(recipe, state)
  return averaged(recipe, nets, state, params) if recipe.wise.use else params


def averaged(recipe: Recipe, nets: Nets, state: State, params: Tree) -> Tree:
  """Averages the trunk with the teacher's, as WiSE-FT does; the new head, which the teacher lacks, stays."""
  start = start_of(nets, state["teacher"])
  return {**params, "trunk": interpolate_weights(start, params["trunk"], recipe.wise.alpha)}


def evaluate_step(
  recipe: Recipe, nets: Nets, classes: tuple[str, ...], old_groups: Any, state: State, batch: Any
) -> Metrics:
  """Counts what `choice_step` does, and what the teacher makes of the same pictures.

  `kl`: of the teacher's old logits to the student's; `teacher_old_head_accuracy`.
  """
  moved, rows = nets.moved("loop"), batch.get("mask", jnp.ones(batch["image"].shape[0]))
  found, seen = _counted(recipe, moved, classes, old_groups, state, batch)
  old, _ = teach(moved, state["teacher"], batch["image"])
  each = jax.vmap(lambda one, other: kl_of(seen._replace(old=one[None]), other[None]))(seen.old, old)
  return {**found, "kl": metrics.mean(each, rows), **_old_head(_OLD[1], old, old_groups, batch, rows)}


def choice_step(
  recipe: Recipe, nets: Nets, classes: tuple[str, ...], old_groups: Any, state: State, batch: Any
) -> Metrics:
  """Counts what `state["params"]` gets right of a batch.

  `class_<name>_accuracy`: (right, its pictures or pixels); `iou_<name>` for pixels: (both, either);
  `overall_accuracy`; `old_head_accuracy`, where labels of the old task are known.
  """
  return _counted(recipe, nets.moved("loop"), classes, old_groups, state, batch)[0]


def _counted(
  recipe: Recipe, moved: Nets, classes: tuple[str, ...], old_groups: Any, state: State, batch: Any
) -> tuple[dict[str, Any], Seen]:
  label = batch["label"].astype(jnp.int32)
  rows = batch.get("mask", jnp.ones(len(label)))
  predicted, seen = predict(recipe, moved, state, batch["image"])
  ignore = recipe.data.ignore if recipe.pixels else -1
  counted = rows.reshape(-1, *[1] * (label.ndim - 1)) > 0
  counts = confusion_matrix(predicted, jnp.where(counted, label, ignore), len(classes), ignore=ignore)
  counts = counts.astype(jnp.float32)
  right, of_class, called = jnp.diag(counts), counts.sum(1), counts.sum(0)
  found = {"overall_accuracy": (jnp.sum(right), jnp.sum(of_class))}
  for i, name in enumerate(classes):
    found[f"{OF_CLASS}{name}_accuracy"] = (right[i], of_class[i])
    if recipe.pixels:
      found[f"{OVERLAP}{name}"] = (right[i], of_class[i] + called[i] - right[i])
  return {**found, **_old_head(_OLD[0], seen.old, old_groups, batch, rows)}, seen


def _old_head(name: str, logits: jax.Array, old_groups: Any, batch: Any, rows: jax.Array) -> Metrics:
  if old_groups is None or "old_label" not in batch:
    return {}
  right = old_classes(logits, jnp.asarray(old_groups)) == batch["old_label"]
  return {name: metrics.mean(right, rows * (batch["old_label"] != UNKNOWN))}


def predict(recipe: Recipe, moved: Nets, state: State, images: jax.Array) -> tuple[jax.Array, Seen]:
  """Returns the likeliest class of each picture or pixel, int32, and all that the student says.

  With `report.flip`, of the mean of the sigmoids of pictures and of their mirror images.
  """
  seen = see(moved, state["params"], state["teacher"], images)
  if not recipe.flip:
    return jnp.argmax(seen.logits, axis=-1), seen
  mirrored = see(moved, state["params"], state["teacher"], images[:, :, ::-1]).logits
  mirrored = mirrored[:, :, ::-1] if recipe.pixels else mirrored
  return jnp.argmax(jax.nn.sigmoid(seen.logits) + jax.nn.sigmoid(mirrored), axis=-1), seen


def report(
  recipe: Recipe, nets: Nets, inputs: Inputs, state: State, evaluate: Evaluate, sweep: Sweep
) -> Report:
  """Reports the final numbers of one seed.

  Of the final weights: `real_mean_class_accuracy`, `real_overall_accuracy`, `real_class_<name>_accuracy`
  (`real_mean_iou` and `real_iou_<name>` for pixels), `old_head_accuracy` (old task on real pictures) beside
  `teacher_old_head_accuracy`, `kl` on synthetic hold-out and its accuracies. Of other choices: `last_...`,
  `synthetic_choice_...`, `peeking_...` (chosen on real pictures) and `wise_...` (averaged with the teacher).
  `at_equal_synthetic_accuracy`: on the quick real pictures, where the synthetic accuracy first reached
  `finetune.equal_at`; missing where it never did. `own_reward`: mean exp(-loss) over a policy's windows.
  Figures: `policy`, the multipliers over steps; `segments`, label maps of quick real pictures.
  """
  del sweep
  final = {**state, "params": final_weights(recipe, nets, state)}
  real, synthetic = (scores(evaluate(side, final)) for side in ("real", "held_out"))
  numbers = {f"real_{name}": x for name, x in real.items() if name not in _OLD}
  numbers |= {name: real[name] for name in _OLD if name in real}
  numbers |= {f"synthetic_{name}": synthetic[name] for name in ("overall_accuracy", "mean_class_accuracy")}
  numbers |= {"kl": synthetic["kl"], "real_kl": real["kl"]}
  for name, params in other_choices(recipe, nets, state).items():
    same = jax.tree.all(jax.tree.map(np.array_equal, params, final["params"]))
    found = real if same else scores(evaluate("choices", {**state, "params": params}))
    kept = ("overall_accuracy", "mean_class_accuracy", "mean_iou", "old_head_accuracy")
    numbers |= {f"{name}_{key}": found[key] for key in kept if key in found}
  numbers["at_equal_synthetic_accuracy"] = float(state["equal"]) if state["equal"] >= 0 else None
  files: dict[str, str | bytes] = {}
  figures = {}
  if "trace" in state:
    trace = {name: np.asarray(x) for name, x in state["trace"].items()}
    numbers["own_reward"] = float(trace["rewards"] / max(trace["windows"], 1.0))
    numbers["decisions"] = len(trace["step"])
    files["policy.csv"] = policy_csv(trace, nets.names)
    figures["policy"] = partial(policy_figure, trace["step"], trace["multipliers"], nets.names)
  if recipe.pixels:
    images, truth = (inputs.quick[name][:SHOWN] for name in ("image", "label"))
    predicted, _ = jax.jit(partial(predict, recipe, nets.moved("top")))(final, images)
    figures["segments"] = partial(segment_figure, images, truth, np.asarray(predicted), inputs.classes)
  if (controller := state.get("controller")) and "best" in controller:  # trained in this run
    files |= controller_files(controller["best_theta"], card_of(recipe, nets, inputs.source, controller))
  return Report(numbers, figures, files)


def other_choices(recipe: Recipe, nets: Nets, state: State) -> dict[str, Tree]:
  """Returns weights by choice: the last, the best on synthetic hold-out, by peeking, and averaged ones."""
  found = {"last": state["params"], "wise": averaged(recipe, nets, state, chosen(recipe, state))}
  if "pseudo" not in state:
    found |= {"synthetic_choice": state["kept"]["synthetic"], PEEKING: state["kept"]["target"]}
  return found


def scores(found: Mapping[str, Any]) -> dict[str, Any]:
  """Adds `mean_class_accuracy`, and for pixels `mean_iou`, means over the classes that occur."""
  numbers = dict(found)
  for name, start in (("mean_class_accuracy", OF_CLASS), ("mean_iou", OVERLAP)):
    shares = [x for key, x in found.items() if key.startswith(start) and x is not None]
    if shares:
      numbers[name] = float(np.mean(shares))
  return numbers
