"""Final numbers of one seed: real and synthetic accuracy, what is left of the old task, and the decisions.

Three choices of weights stand side by side: the last, the best on synthetic hold-out, and the best on real
pictures, which is peeking and named so.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.metrics.iou import confusion_matrix
from vita_jax.optim.groups import interpolate_weights
from vita_jax.optim.layerwise import OBSERVED
from vita_jax.papers.asg.data import UNKNOWN, Inputs
from vita_jax.papers.asg.losses import kl_of
from vita_jax.papers.asg.model import Nets, old_of, see, start_of
from vita_jax.papers.asg.recipe import Recipe
from vita_jax.papers.asg.stages import chosen
from vita_jax.train.experiment import Evaluate, Metrics, Report, State, Sweep

Tree = Any
RIGHT, OVERLAP = "right_", "iou_"  # of a class, in the metrics of an evaluation
PEEKING = "peeking"


def final_weights(recipe: Recipe, nets: Nets, state: State) -> Tree:
  """Returns the weights that are tested first and exported: the selected ones, averaged where a method says so."""
  params = chosen(recipe, state)
  return averaged(recipe, nets, state, params) if recipe.wise.use else params


def averaged(recipe: Recipe, nets: Nets, state: State, params: Tree) -> Tree:
  """Averages the trunk with the teacher's, as WiSE-FT does; the new head, which the teacher lacks, stays."""
  start = start_of(nets, state["teacher"])
  return {**params, "trunk": interpolate_weights(start, params["trunk"], recipe.wise.alpha)}


def evaluate_step(
  recipe: Recipe, nets: Nets, classes: tuple[str, ...], old_groups: Any, state: State, batch: Any
) -> Metrics:
  """Counts what `state["params"]` gets right of a batch.

  `right_<class>`: (right, its pictures or pixels); `iou_<class>` for pixels: (both, either); `overall`;
  `kl`: of the teacher's old logits to the student's; `old_head`: old task, where labels of it are known.
  """
  moved, params, teacher = nets.moved("loop"), state["params"], state["teacher"]
  images, label = batch["image"], batch["label"].astype(jnp.int32)
  rows = batch.get("mask", jnp.ones(images.shape[0]))
  seen = see(moved, params, teacher, images)
  predicted = jnp.argmax(both_sides(recipe, moved, params, teacher, images, seen.logits), axis=-1)
  ignore = recipe.data.ignore if recipe.pixels else -1
  counted = rows.reshape(-1, *[1] * (label.ndim - 1)) > 0
  counts = confusion_matrix(predicted, jnp.where(counted, label, ignore), len(classes), ignore=ignore)
  counts = counts.astype(jnp.float32)
  right, of_class, called = jnp.diag(counts), counts.sum(1), counts.sum(0)
  found = {"overall": (jnp.sum(right), jnp.sum(of_class))}
  for i, name in enumerate(classes):
    found[f"{RIGHT}{name}"] = (right[i], of_class[i])
    if recipe.pixels:
      found[f"{OVERLAP}{name}"] = (right[i], of_class[i] + called[i] - right[i])
  old, _ = old_of(moved, teacher, images)
  each = jax.vmap(lambda one, other: kl_of(seen._replace(old=one[None]), other[None]))(seen.old, old)
  found["kl"] = metrics.mean(each, rows)
  if old_groups is not None and "old_label" in batch:
    known = batch["old_label"] != UNKNOWN
    groups = jnp.asarray(old_groups)
    for name, logits in (("old_head", seen.old), ("teacher_old_head", old)):
      given = old_classes(logits, groups)
      found[name] = metrics.mean(given == batch["old_label"], rows * known)
  return found


def both_sides(
  recipe: Recipe, nets: Nets, params: Tree, teacher: Tree, images: jax.Array, logits: jax.Array
) -> jax.Array:
  """Returns logits, or, with `report.flip`, the mean of the sigmoids of pictures and their mirror images."""
  if not recipe.flip:
    return logits
  mirrored = see(nets, params, teacher, images[:, :, ::-1]).logits
  mirrored = mirrored[:, :, ::-1] if recipe.pixels else mirrored
  return (jax.nn.sigmoid(logits) + jax.nn.sigmoid(mirrored)) / 2


def old_classes(logits: jax.Array, groups: jax.Array) -> jax.Array:
  """Returns the old task's label of the largest total probability: [n, old classes] -> int [n].

  Args:
    logits: of the old head.
    groups: int32 [old classes], the label that each output is of; -1: of none.
  """
  probability = jax.nn.softmax(logits)
  labels = groups.shape[0]  # at most so many
  one_hot = (groups[:, None] == jnp.arange(labels)[None]).astype(jnp.float32)
  return jnp.argmax(probability @ one_hot, axis=-1)


def report(recipe: Recipe, nets: Nets, inputs: Inputs, state: State, evaluate: Evaluate, sweep: Sweep) -> Report:
  """Reports the final numbers of one seed.

  Of the final weights: `real_mean_class`, `real_overall`, `real_right_<class>` (`real_mean_iou` and
  `real_iou_<class>` for pixels), `old_head` (old task on real pictures) beside `teacher_old_head`, `kl` on
  synthetic hold-out, `synthetic_overall`. Of other choices: `last_...`, `synthetic_choice_...`,
  `peeking_...` (chosen on real pictures) and `wise_...` (averaged with the teacher). `equal_target`: accuracy
  on the quick real pictures when the synthetic accuracy first reached `finetune.equal_at`; -1: it never did.
  `own_reward`: mean exp(-loss) over the windows of a policy.
  """
  del sweep
  final = final_weights(recipe, nets, state)
  real = scores(evaluate("real", {**state, "params": final}))
  synthetic = scores(evaluate("held_out", {**state, "params": final}))
  numbers = {f"real_{name}": x for name, x in real.items() if name not in _OLD}
  numbers |= {name: real[name] for name in _OLD if name in real}
  numbers |= {f"synthetic_{name}": synthetic[name] for name in ("overall", "mean_class")}
  numbers |= {"kl": synthetic["kl"], "real_kl": real["kl"]}
  for name, params in other_choices(recipe, nets, state).items():
    same = _equal(params, final)
    found = real if same else scores(evaluate("real", {**state, "params": params}))
    kept = ("overall", "mean_class", "mean_iou", "old_head")
    numbers |= {f"{name}_{key}": found[key] for key in kept if key in found}
  numbers["equal_target"] = float(state["equal"])
  files, figures = {}, {}
  if "trace" in state:
    trace = {name: np.asarray(x) for name, x in state["trace"].items()}
    numbers["own_reward"] = float(trace["rewards"] / max(trace["windows"], 1.0))
    numbers["decisions"] = len(trace["step"])
    files["policy.csv"] = policy_csv(trace, nets.names)
    figures["policy"] = partial(policy_figure, trace["step"], trace["multipliers"], nets.names)
  return Report(numbers, figures, files)


_OLD = ("old_head", "teacher_old_head")


def other_choices(recipe: Recipe, nets: Nets, state: State) -> dict[str, Tree]:
  """Returns weights by choice: the last, the best on synthetic hold-out, by peeking, and averaged ones."""
  found = {"last": state["params"], "wise": averaged(recipe, nets, state, chosen(recipe, state))}
  if "pseudo" not in state:
    found |= {"synthetic_choice": state["kept"]["synthetic"], PEEKING: state["kept"]["target"]}
  return found


def scores(found: Mapping[str, Any]) -> dict[str, Any]:
  """Adds `mean_class`, and for pixels `mean_iou`, over the classes that occur, to an evaluation's shares."""
  numbers = dict(found)
  for name, start in (("mean_class", RIGHT), ("mean_iou", OVERLAP)):
    shares = [x for key, x in found.items() if key.startswith(start) and x is not None]
    if shares:
      numbers[name] = float(np.mean(shares))
  return numbers


def _equal(one: Tree, other: Tree) -> bool:
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def policy_csv(trace: Mapping[str, np.ndarray], names: tuple[str, ...]) -> str:
  """Writes a line for each decision: its step, what was observed (means over the window before), multipliers."""
  text = io.StringIO()
  text.write(",".join(["step", *OBSERVED, *names]) + "\n")
  for step, seen, rates in zip(trace["step"], trace["observation"], trace["multipliers"], strict=True):
    text.write(",".join([str(int(step)), *(f"{x:.6g}" for x in seen), *(f"{x:.1f}" for x in rates)]) + "\n")
  return text.getvalue()


def policy_figure(step: np.ndarray, multipliers: np.ndarray, names: tuple[str, ...]) -> Any:
  """Draws the multipliers of every layer group over training: a matplotlib Figure.

  Args:
    step: int [decisions].
    multipliers: [decisions, groups], 0 to 1.
    names: of the groups, from the input on.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(7, 1 + 0.5 * len(names)), layout="constrained")
  axes = figure.add_subplot()
  edges = np.append(step, 2 * step[-1] - step[-2] if len(step) > 1 else step[-1] + 1)
  drawn = axes.pcolormesh(edges, np.arange(len(names) + 1), multipliers.T, vmin=0, vmax=1, cmap="viridis")
  axes.set(xlabel="step", yticks=np.arange(len(names)) + 0.5, yticklabels=names)
  axes.invert_yaxis()
  figure.colorbar(drawn, label="multiplier of the rate")
  return figure
