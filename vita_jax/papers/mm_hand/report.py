"""Final numbers of one seed: appearance, and by judges that no loss has used the pose; sheets of both."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.hands.estimator import kept_keypoint_net
from vita_jax.hands.judges import Judge, landmark_judge, mean_pose_errors, pose_numbers
from vita_jax.metrics import frechet_of_features, paired_kernel_distance, ssim
from vita_jax.nn import features
from vita_jax.papers.mm_hand.data import Inputs, to_bytes, to_floats
from vita_jax.papers.mm_hand.guidance import Pose, is_hand
from vita_jax.papers.mm_hand.model import Nets, transfer
from vita_jax.papers.mm_hand.recipe import Recipe
from vita_jax.train.experiment import Evaluate, Metrics, Report, State, Sweep

WORST = 95  # percentile that is told beside each mean
LEAST = 11  # side of a picture that SSIM can be computed of
SHOWN = 8  # rows of a sheet


def see(recipe: Recipe, nets: Nets, state: State, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
  """Draws the targets of test pairs: `picture` float32 [n, S, S, 3] in [-1, 1]."""
  first, second = Pose(batch["source_uv"], batch["source_z"]), Pose(batch["uv"], batch["z"])
  return {"picture": transfer(recipe, nets, state, to_floats(batch["source"]), first, second)}


def evaluate_step(recipe: Recipe, nets: Nets, state: State, batch: Mapping[str, Any]) -> Metrics:
  """Computes `l1`, the mean |G - truth| of test pairs in the unit of [-1, 1]."""
  picture = see(recipe, nets, state, batch)["picture"]
  distance = jnp.mean(jnp.abs(picture - to_floats(batch["image"])), axis=(1, 2, 3))
  return {"l1": metrics.mean(distance, batch.get("mask"))}


def report(
  recipe: Recipe, nets: Nets, inputs: Inputs, state: State, evaluate: Evaluate, sweep: Sweep
) -> Report:
  """Measures one seed on pairs whose poses were never trained on.

  Of each test set (the second one, of new identities, with the prefix `identities_`) what `appearance` and
  `hands.judges.pose_numbers` say of the drawn pictures, with the prefix `copy_` of the copied sources, and
  with `floor_` what judges say of the true pictures; `mean_pose_error` is that of a pose that no picture is
  needed for, see `hands.judges.mean_pose_errors`. Of rendered hands `same_background_l1` is that of pairs
  before one background, and `best_l1` that of the true hand before the source's background, which is wrong
  where it is another. Figures: `sheet`, and `failures`, the largest pose errors (or the largest L1, without a
  judge).
  """
  del evaluate
  judges = judges_of(recipe, inputs)
  nets_of_features = features.load_available(recipe.report.features, side=recipe.size)
  found: dict[str, float] = {}
  figures: dict[str, Any] = {}
  look = partial(see, recipe, nets)
  for name, pairs in inputs.tests.items():
    drawn = to_bytes(np.asarray(sweep(look, state, over=name)["picture"]))
    prefix = "" if name == "test" else f"{name}_"
    order = np.argsort(-_l1(drawn, pairs["image"]), kind="stable")
    hand = np.asarray(is_hand(recipe, Pose(jnp.asarray(pairs["uv"]), jnp.asarray(pairs["z"]))))
    mean_pose = mean_pose_errors(inputs.train["uv"], pairs["uv"], size=recipe.size)
    found[f"{prefix}mean_pose_error"] = float(mean_pose.mean())
    if "best" in pairs:
      found[f"{prefix}best_l1"] = float(_l1(pairs["best"], pairs["image"]).mean())
    pictures = {"": drawn, "copy_": pairs["source"], "floor_": pairs["image"]}
    for arm, shown in pictures.items():
      if arm != "floor_":
        numbers = appearance(shown, pairs["image"], nets_of_features, hand=hand)
        if (same := pairs.get("same_background", np.zeros(0, bool))).any():
          numbers["same_background_l1"] = float(_l1(shown, pairs["image"])[same].mean())
        found |= {f"{prefix}{arm}{key}": value for key, value in numbers.items()}
      for judge in judges:
        numbers, errors = pose_numbers(judge, shown, pairs["uv"])
        found |= {f"{prefix}{arm}{judge.prefix}{key}": value for key, value in numbers.items()}
        if arm == "" and judge is judges[0]:
          order = np.argsort(-errors, kind="stable")
    even = np.unique(np.linspace(0, len(drawn) - 1, SHOWN).astype(int))
    columns = {"source": pairs["source"], "drawn": drawn, "truth": pairs["image"]}
    figures[f"{prefix}sheet"] = partial(sheet, columns, pairs["uv"], even)
    figures[f"{prefix}failures"] = partial(sheet, columns, pairs["uv"], order[:SHOWN])
  return Report(found, figures)


def judges_of(recipe: Recipe, inputs: Inputs) -> list[Judge]:
  """Returns the judges: the landmark network (a warning says if it has no weights), and the small one.

  The small one is trained on training pictures alone, once for all runs.
  """
  found = []
  if recipe.report.judge != "none":
    try:
      found.append(landmark_judge(recipe.report.judge))
    except FileNotFoundError as error:
      warnings.warn(f"pose errors are left out: {error}", stacklevel=2)
  if recipe.report.small_judge:
    train = inputs.train
    found.append(kept_keypoint_net(train["image"], train["uv"], steps=recipe.report.small_judge))
  return found


def appearance(
  shown: np.ndarray, truth: np.ndarray, nets: list[features.FeatureNet], *, hand: np.ndarray
) -> dict[str, float]:
  """Compares pictures with the true ones, uint8 [n, S, S, 3] both; `hand` [n, S, S, 1] is 1 where that is.

  Returns:
    `l1` in the unit of [-1, 1] and `ssim` (from 11 pixels on), means over pictures, and `l1_p95` and
    `ssim_p5`, what the worst 5 % reach; `hand_l1`, that of the target's hand alone; `frechet_<network>` and
    `kernel_<network>`, named after the features.
  """
  distances = _l1(shown, truth)
  found = {"l1": float(distances.mean()), f"l1_p{WORST}": float(np.percentile(distances, WORST))}
  own = (np.abs(to_floats(shown) - to_floats(truth)) * hand).sum(axis=(1, 2, 3))
  found["hand_l1"] = float((own / np.maximum(3 * hand.sum(axis=(1, 2, 3)), 1)).mean())
  if truth.shape[1] >= LEAST:
    values = ssim(shown.astype(np.float32) / 255, truth.astype(np.float32) / 255, data_range=1.0)
    found |= {"ssim": float(values.mean()), f"ssim_p{100 - WORST}": float(np.percentile(values, 100 - WORST))}
  for net in nets:
    ours, theirs = features.pooled_features(net, shown), features.pooled_features(net, truth)
    with warnings.catch_warnings():  # fewer pictures than features: the README says so beside the numbers
      warnings.simplefilter("ignore", RuntimeWarning)
      found[f"frechet_{net.name}"] = frechet_of_features(ours, theirs)
    if len(ours) >= 3:
      found[f"kernel_{net.name}"] = paired_kernel_distance(ours, theirs).distance
  return found


def _l1(shown: np.ndarray, truth: np.ndarray) -> np.ndarray:
  return np.abs(to_floats(shown) - to_floats(truth)).mean(axis=(1, 2, 3))


def sheet(columns: Mapping[str, np.ndarray], uv: np.ndarray, rows: np.ndarray) -> Any:
  """Draws test pairs, a row each: source, target pose, the columns that were drawn, truth. A Figure."""
  from matplotlib.figure import Figure

  from vita_jax.pose.skeletons import HAND
  from vita_jax.report.skeletons import draw_skeletons

  rows, first, *others = np.asarray(rows), *columns
  figure = Figure(figsize=(1.4 * (len(columns) + 1), 1.4 * len(rows) + 0.3), layout="constrained")
  axes = figure.subplots(len(rows), len(columns) + 1, squeeze=False)
  for line, place in zip(axes, rows, strict=True):
    black = np.zeros_like(columns[first][place])
    pose = draw_skeletons(black, uv[place], HAND, scale=max(1, 192 // len(black)))
    shown = {first: columns[first][place], "target": pose, **{name: columns[name][place] for name in others}}
    for axis, (name, picture) in zip(line, shown.items(), strict=True):
      axis.imshow(picture, interpolation="nearest")
      axis.set_axis_off()
      if place == rows[0]:
        axis.set_title(name, fontsize=8)
  return figure
