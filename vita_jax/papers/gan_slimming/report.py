"""Final numbers of one seed: quality of the pictures, what the network costs, sheets and bars."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.base.files import npz_bytes
from vita_jax.compress import channel_table, layer_bytes, post_training
from vita_jax.data.histograms import apply_curves
from vita_jax.metrics import decibels, frechet_of_features, kernel_distance, paired_kernel_distance, ssim
from vita_jax.nn import features
from vita_jax.papers.gan_slimming.data import Inputs, in_parts, middles, to_bytes, to_floats
from vita_jax.papers.gan_slimming.model import MEASURED, Nets, extracted, macs, stored, variables_of
from vita_jax.papers.gan_slimming.recipe import Recipe
from vita_jax.report.pictures import picture_grid
from vita_jax.report.tables import csv_text
from vita_jax.train.experiment import Evaluate, Metrics, Report, State, Sweep

Pictures = dict[str, np.ndarray]  # name -> float32 [n, h, w, 3] in [-1, 1]


def evaluate_step(recipe: Recipe, nets: Nets, state: State, batch: Mapping[str, Any]) -> Metrics:
  """Computes held-out mean squared errors, in the unit of [-1, 1]: to the target, and to the teacher."""
  seen = look(nets, state, batch)
  found, picture = {}, seen["picture"]
  pairs = {"mse_teacher": seen.get("teacher"), "mse_target": batch.get("target")}
  for name, other in pairs.items():
    if other is not None:
      other = to_floats(other) if name == "mse_target" else other
      found[name] = metrics.mean(jnp.mean(jnp.square(picture - other), axis=(1, 2, 3)), batch.get("mask"))
  return found


def look(nets: Nets, state: State, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
  """Computes `picture` of the student and, once there is one, `teacher`: float32 [n, h, w, 3] in [-1, 1]."""
  x = to_floats(batch["image"])
  generator = state["params"]["generator"]
  if "teacher" not in state:
    return {"picture": nets.teacher.apply({"params": generator}, x).astype(jnp.float32)}
  variables = variables_of(generator, state.get("clips"))
  return {
    "picture": nets.student.apply(variables, x).astype(jnp.float32),
    "teacher": nets.teacher.apply({"params": state["teacher"]}, x).astype(jnp.float32),
  }


def report(
  recipe: Recipe,
  nets: Nets,
  inputs: Inputs,
  see: Callable[[State, Mapping[str, Any]], dict[str, jax.Array]],
  state: State,
  evaluate: Evaluate,
  sweep: Sweep,
) -> Report:
  """Measures the student of one seed on held-out crops, beside the identity, recolouring and its teacher.

  Metrics: those of `quality` of the student, and with the prefixes `identity_`, `histogram_` and `teacher_`;
  with `ptq8_` and so on those of post-training quantisation; `costs`. Files: `channels.csv`, and `crops.npz`
  with what is on the sheet. Figures: `sheet` and `channels`. `see` is `look` of these networks, one function
  for all seeds: it is compiled once.
  """
  del evaluate
  seen = sweep(see, state, over="held_out")
  pictures: Pictures = {"": np.asarray(seen["picture"])}
  if "teacher" in seen:
    pictures["teacher_"] = np.asarray(seen["teacher"])
  small, variables = extracted(nets, state)
  found: dict[str, Any] = costs(recipe, nets, small)
  for bits in recipe.after:
    pictures[f"ptq{bits}_"] = quantised_after(recipe, inputs, small, variables, bits)
    found[f"ptq{bits}_bytes_ratio"] = layer_bytes(nets.teacher.layers) / layer_bytes(small.layers, bits=bits)
  if "pruned" in state:
    found["pruned_by_training"] = float(state["pruned"])
    if recipe.slim.rho and found["pruned_by_training"] < 0.1:
      warnings.warn("training pruned less than 10 % of the scales: the budget did the rest", stacklevel=2)
  pictures["identity_"] = to_floats(inputs.test["image"])
  if inputs.curves is not None:
    pictures["histogram_"] = to_floats(apply_curves(inputs.curves, inputs.test["image"]))
  loaded = features.load_available(recipe.features, side=inputs.crop) if inputs.targets is not None else []
  targets = {net.name: features.pooled_features(net, inputs.targets) for net in loaded}
  for prefix, shown in pictures.items():
    values = quality(shown, inputs, pictures.get("teacher_"), loaded, targets)
    found |= {f"{prefix}{name}": value for name, value in values.items()}
  rows = channel_table(nets.teacher.layers, small.layers, MEASURED, MEASURED)
  crops = shown_crops(inputs, pictures)
  figures = {"sheet": partial(picture_grid, crops), "channels": partial(channel_bars, rows)}
  return Report(found, figures, {"channels.csv": csv_text(rows), "crops.npz": npz_bytes(crops)})


def quality(
  shown: np.ndarray,
  inputs: Inputs,
  teacher: np.ndarray | None,
  nets: list[features.FeatureNet],
  targets: Mapping[str, np.ndarray],
) -> dict[str, float]:
  """Compares pictures with targets and teacher.

  Args:
    shown: float32 [n, h, w, 3] in [-1, 1].
    inputs: held-out pictures.
    teacher: the teacher's pictures, or None.
    nets: networks of features.
    targets: the features of the target domain by network.

  Returns:
    With pairs `psnr` (decibels of the mean error over all crops), `ssim` (mean over crops), `mse_target`;
    `mse_teacher`; `frechet_<network>` and `kernel_<network>` to the target domain.
  """
  found: dict[str, float] = {}
  if inputs.paired:
    wanted = to_floats(inputs.test["target"])
    error = float(np.mean(np.square(shown.astype(np.float64) - wanted)))
    found |= {"psnr": float(decibels(error, data_range=2.0)), "mse_target": error}
    if inputs.crop >= 11:
      found["ssim"] = float(np.mean(ssim(shown, wanted, data_range=2.0)))
  if teacher is not None and teacher is not shown:
    error = float(np.mean(np.square(shown.astype(np.float64) - teacher)))
    found |= {"mse_teacher": error}
  for net in nets:
    ours, theirs = features.pooled_features(net, to_bytes(shown)), targets[net.name]
    with warnings.catch_warnings():  # fewer crops than features: the README says so beside the numbers
      warnings.simplefilter("ignore", RuntimeWarning)
      found[f"frechet_{net.name}"] = frechet_of_features(ours, theirs)
    if inputs.paired and len(np.unique(inputs.photo)) >= 3:  # partners are alike, and crops of one picture
      found[f"kernel_{net.name}"] = paired_kernel_distance(ours, theirs, inputs.photo).distance
    elif not inputs.paired and min(len(ours), len(theirs)) >= 3:
      found[f"kernel_{net.name}"] = kernel_distance(ours, theirs).distance
  return found


def costs(recipe: Recipe, nets: Nets, small: Any) -> dict[str, float]:
  """Counts what the extracted network costs for a picture of 256 x 256, beside the dense float32 teacher.

  `macs`, `macs_paper` (transposed convolutions at their output's places), `macs_share` of the teacher's;
  `bytes` (int8 kernels where trained so), `bytes_ratio` of the teacher's to them; `channels_pruned`, a share
  of the channels that can be.
  """
  size = layer_bytes(small.layers, **stored(recipe))
  before, after = _widths(nets.teacher, nets), _widths(small, nets)
  return {
    "macs": macs(small),
    "macs_paper": macs(small, convention="paper"),
    "macs_share": macs(small) / macs(nets.teacher),
    "bytes": size,
    "bytes_ratio": layer_bytes(nets.teacher.layers) / size,
    "channels_pruned": 1 - after / before,
  }


def _widths(generator: Any, nets: Nets) -> int:
  """How many channels the groups of the graph have in a generator."""
  features_of = {layer.name: layer.features for layer in generator.layers}
  return sum(features_of.get(group.name, 0) for group in nets.graph)


def quantised_after(
  recipe: Recipe, inputs: Inputs, small: Any, variables: Mapping[str, Any], bits: int
) -> np.ndarray:
  """Quantises the extracted network by the largest inputs on training crops; its held-out pictures."""
  crops = [to_floats(middles(inputs))]
  net, quantised = post_training(small.clone(quant=None), variables["params"], crops, bits=bits)
  return in_parts(partial(jax.jit(net.apply), quantised), inputs.test["image"])


def channel_bars(rows: list[dict[str, Any]]) -> Any:
  """Draws each layer's output channels, left over all: a matplotlib Figure."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 1 + 0.2 * len(rows)), layout="constrained")
  axes = figure.add_subplot()
  names = [row["layer"] for row in rows]
  axes.barh(names, [row["features"] for row in rows], color="0.85", label="teacher")
  axes.barh(names, [row["features_left"] for row in rows], label="left")
  axes.invert_yaxis()
  axes.tick_params(axis="y", labelsize=6)
  axes.set(xlabel="output channels")
  axes.legend(frameon=False, fontsize=7)
  return figure


def shown_crops(inputs: Inputs, pictures: Pictures, *, count: int = 6) -> dict[str, np.ndarray]:
  """Returns some held-out crops, uint8 [count, h, w, 3], by column of a sheet.

  `input`, `target` where there are pairs, `teacher`, `method`, and `ptq8` and so on.
  """
  places = np.unique(np.linspace(0, len(inputs.test["image"]) - 1, count).astype(int))
  shown = {"input": inputs.test["image"], "target": inputs.test.get("target")}
  shown |= {"teacher": pictures.get("teacher_"), "method": pictures[""]}
  shown |= {name.rstrip("_"): x for name, x in pictures.items() if name.startswith("ptq")}
  crops = {name: x[places] for name, x in shown.items() if x is not None}
  return {name: x if x.dtype == np.uint8 else to_bytes(x) for name, x in crops.items()}
