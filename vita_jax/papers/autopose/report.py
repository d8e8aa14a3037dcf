"""Final numbers of one seed: PCK, OKS and COCO's AP on test crops; of a search its candidates and rewards."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.compress.counts import count_parameters
from vita_jax.data.resident import Resident
from vita_jax.metrics.keypoints import near, oks
from vita_jax.papers.autopose.data import Inputs
from vita_jax.papers.autopose.losses import joints_of, loss_of, stride_of
from vita_jax.papers.autopose.model import MeanPose, Nets, genotype_of, prepared
from vita_jax.papers.autopose.recipe import Recipe
from vita_jax.papers.autopose.steps import skips, weights_of
from vita_jax.pose.crops import to_picture
from vita_jax.pose.evaluate import coco_ap, coco_persons, coco_truth, pckh
from vita_jax.pose.heatmaps import flip_heatmaps
from vita_jax.report.bands import error_bands
from vita_jax.report.skeletons import draw_worst
from vita_jax.search import weightless_share
from vita_jax.search.branches import draw_genotype, network_of, to_json
from vita_jax.search.branches.supernet import averaged, forward
from vita_jax.train.experiment import Evaluate, Metrics, Report, State, Sweep

Tree = Any
LAST = 20  # updates of the controller whose rewards are compared with uniform draws


def network_state(recipe: Recipe, state: State) -> Tree:
  """Returns what a network's maps are computed of: of a search the best candidate with shared weights."""
  if "candidates" not in state:
    return {"params": state["params"], "stats": state["stats"]}
  found = state["candidates"]
  best = jnp.argmax(found["scores"])
  kept = {"params": state["params"], "alpha": state["alpha"]}
  stats = averaged(state["best"], recipe.derive.batches)
  return {**kept, "stats": stats, "tokens": found["tokens"][best], "cells": found["cells"][best]}


def maps_of(recipe: Recipe, nets: Nets, inputs: Inputs, given: Tree, images: jax.Array) -> jax.Array:
  """Computes heat maps [n, h, w, K] of crops, bytes, with the flip test where the recipe has it.

  Args:
    recipe: the settings.
    nets: the networks.
    inputs: whose skeleton is taken.
    given: of `network_state`.
    images: uint8 [n, h, w, 3].
  """

  def apply(images: jax.Array) -> jax.Array:
    if nets.single is not None:
      variables = {"params": given["params"], "batch_stats": given["stats"]}
      return jnp.asarray(nets.single.apply(variables, images, train=False))
    network = network_of(recipe.space, given["tokens"])
    weights = weights_of(recipe, given["alpha"], given["cells"], None, recipe.search.steps)
    random = recipe.cell.kind == "random"
    run = partial(forward, nets.supernet, given["params"], given["stats"], train=False, sparse=random)
    return run(images, network, weights)[0]

  images = prepared(images, recipe.dtype)
  if not recipe.report.flip:
    return apply(images)
  # Both at once, as one program: `pose.flip_test` would put the network into it twice.
  plain, mirrored = jnp.split(apply(jnp.concatenate([images, images[:, :, ::-1]])), 2)
  shift = 1 if recipe.data.convention == "half" else 0
  return (plain + flip_heatmaps(mirrored, inputs.skeleton, shift=shift)) / 2


class FoundInCrops(NamedTuple):
  """Keypoints [n, K, 2] in pixels of crops, their scores [n, K], and the maps they come from, if any."""

  joints: jax.Array
  scores: jax.Array
  maps: jax.Array | None


def found_in(recipe: Recipe, nets: Nets, inputs: Inputs, given: Tree, images: jax.Array) -> FoundInCrops:
  """Finds keypoints in crops, bytes; see `maps_of`."""
  n = images.shape[0]
  if isinstance(nets.single, MeanPose):
    mean = jnp.asarray(inputs.mean)
    return FoundInCrops(jnp.broadcast_to(mean, (n, *mean.shape)), jnp.ones((n, len(mean))), None)
  maps = maps_of(recipe, nets, inputs, given, images)
  return FoundInCrops(*joints_of(recipe, maps, method=recipe.report.decode), maps)


def evaluate_step(recipe: Recipe, nets: Nets, inputs: Inputs, state: State, batch: Any) -> Metrics:
  """Counts on a batch: `pck_<share>` of labelled keypoints within so many lengths, `oks`, `loss`."""
  given, rows = network_state(recipe, state), batch.get("mask", jnp.ones(batch["image"].shape[0]))
  joints, _, maps = found_in(recipe, nets, inputs, given, batch["image"])
  truth, seen = batch["joints"], (batch["visible"] > 0) & (rows > 0)[:, None]
  counted = seen & (batch["length"] > 0)[:, None]
  found = {
    pck_name(share): metrics.mean(
      near(joints, truth, batch["length"], threshold=share), counted.astype(jnp.float32)
    )
    for share in recipe.report.shares
  }
  labelled = jnp.any(seen, axis=1).astype(jnp.float32)
  value = oks(joints, truth, seen, batch["area"], inputs.skeleton.sigmas)
  found["oks"] = metrics.mean(value, labelled)
  if maps is not None:
    found["loss"] = (loss_of(recipe, maps, batch) * jnp.sum(rows), jnp.sum(rows))
  return found


def pck_name(share: float) -> str:
  """Returns the name of the metric, e.g. pck_0.2."""
  return f"pck_{share:g}"


def report(
  recipe: Recipe, nets: Nets, inputs: Inputs, state: State, evaluate: Evaluate, sweep: Sweep
) -> Report:
  """Reports the final numbers of one seed.

  `pck_<share>`, `oks`, `loss` of the test crops; `ap`, `ap50`, `ap75` by pycocotools, where it is installed;
  for MPII `pckh_of_segment` (0.5 of the distance from neck to head top: the file has no head boxes);
  `label_ceiling_pck_<share>`: of a second set of labels, where there is one; `macs`, `parameters`. Of a
  search also what `searched` says, and all of this of the best candidate with its shared weights, beside
  `median_pose_score`, what the median pose, which needs no network, has on the rows that score. Files: see
  `people_file` and `searched`.
  """
  numbers = {name: x for name, x in evaluate("test", state).items() if x is not None}  # None: no labels
  given = network_state(recipe, state)

  def look(state: Any, batch: Any) -> dict[str, jax.Array]:
    seen = found_in(recipe, nets, inputs, network_state(recipe, state), batch["image"])
    return {"joints": seen.joints, "scores": seen.scores}

  found = {name: np.asarray(x) for name, x in sweep(look, state, over="test").items()}
  numbers |= _average_precision(recipe, inputs, found) | _other_protocols(recipe, inputs, found)
  files = people_file(recipe, inputs, found)
  figures: dict[str, Any] = {}
  if recipe.searches:
    more, own, figures = searched(recipe, nets, state)
    numbers, files = numbers | more, files | own
    if isinstance(inputs.held, Resident):
      numbers["median_pose_score"] = median_score(inputs, inputs.held.arrays)
  else:
    numbers |= {"macs": nets.macs, "parameters": count_parameters(given["params"])}
    if nets.genotype is not None:
      figures["architecture"] = partial(draw_genotype, nets.genotype, stride=recipe.model.stride)
      if "score" in nets.genotype.facts:
        numbers["supernet_score"] = float(nets.genotype.facts["score"])
  if "image" in inputs.rows:
    figures["mistakes"] = partial(draw_worst, inputs.rows, found["joints"], inputs.skeleton)
  return Report(numbers, figures, files)


def _average_precision(recipe: Recipe, inputs: Inputs, found: Mapping[str, np.ndarray]) -> dict[str, float]:
  """COCO's AP: in the test persons' pictures, or of crops as pictures of their own."""
  people, rows, skeleton = inputs.people, inputs.rows, inputs.skeleton
  centre, scale, box_scores, ids = _crops_as_pictures(recipe, len(found["joints"]))
  if people is not None:
    centre, scale, box_scores, ids = people.centre, people.scale, people.scores, people.image_ids
    parts = people.joints, people.visible, people.areas, people.boxes
  else:
    parts = rows["joints"], rows["visible"], rows["area"], rows["box"]
  # The file itself where there is one: a detector's boxes have no labels, and nobody is left out of it.
  file = recipe.data.test_annotations if recipe.data.name != "mpii" else ""
  truth: Any = file or coco_truth(*parts, skeleton=skeleton, image_ids=ids)
  results = coco_persons(
    found["joints"] / np.array(stride_of(recipe)),
    found["scores"],
    centre=centre,
    scale=scale,
    box_scores=box_scores,
    image_ids=ids,
    size=recipe.maps,
    skeleton=skeleton,
    convention=recipe.data.convention,
  )
  try:
    values = coco_ap(truth, results, skeleton=skeleton)
  except ImportError as error:
    if people is not None:  # of crops by themselves it is a number beside others
      warnings.warn(f"ap is left out: {error}", stacklevel=2)
    return {}
  return {
    name.lower(): values[name] for name in ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR") if values[name] >= 0
  }


def _crops_as_pictures(recipe: Recipe, n: int) -> tuple[np.ndarray, ...]:
  """(centre, scale, scores, ids) of crops that are pictures by themselves, so that maps are only enlarged."""
  less = 1 if recipe.data.convention == "udp" else 0
  last = np.tile(np.array(recipe.data.size[::-1], np.float64) - less, (n, 1))
  return last / 2, last / 200.0, np.ones(n), np.arange(1, n + 1)


def people_file(recipe: Recipe, inputs: Inputs, found: Mapping[str, np.ndarray]) -> dict[str, str]:
  """Counts the right keypoints of each test person, as people.json: for intervals over people, too.

  `picture`, `labelled` and `pck_<share>`, [n] each; none of a stream, whose keypoints are in whole pictures.
  """
  rows = inputs.rows
  if "length" not in rows:
    return {}
  seen = (rows["visible"] > 0) & (rows["length"] > 0)[:, None]
  content = {"picture": rows.get("picture", np.arange(len(seen))), "labelled": seen.sum(axis=1)}
  for share in recipe.report.shares:
    right = near(found["joints"], rows["joints"], rows["length"], threshold=share)
    content[pck_name(share)] = (right & seen).sum(axis=1)
  return {"people.json": json.dumps({name: x.tolist() for name, x in content.items()}) + "\n"}


def _other_protocols(recipe: Recipe, inputs: Inputs, found: Mapping[str, np.ndarray]) -> dict[str, float]:
  rows, numbers = inputs.rows, {}
  if "second" in rows:
    seen = (rows["visible"] > 0) & (rows["length"] > 0)[:, None]
    for share in recipe.report.shares:
      right = near(rows["second"], rows["joints"], rows["length"], threshold=share)
      numbers[f"label_ceiling_{pck_name(share)}"] = float(right[seen].mean())
  if inputs.skeleton.name == "mpii":
    joints = found["joints"]
    if "length" not in rows:  # of a stream: labels are in whole pictures
      places, convention = (rows["centre"], rows["scale"]), recipe.data.convention
      joints = to_picture(joints, *places, size=recipe.data.size, convention=convention)
    neck, top = (inputs.skeleton.names.index(name) for name in ("upper_neck", "head_top"))
    segment = np.linalg.norm(rows["joints"][:, top] - rows["joints"][:, neck], axis=-1)
    kept = (rows["visible"][:, [neck, top]] > 0).all(axis=1) & (segment > 0)
    parts = [x[kept] for x in (joints, rows["joints"], rows["visible"], segment / 0.6)]
    if kept.any():
      numbers["pckh_of_segment"] = pckh(*parts)["mean"] / 100
  return numbers


def searched(
  recipe: Recipe, nets: Nets, state: State
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
  """Returns the numbers, files and figures of a search.

  `supernet_score`: of the best candidate on held rows; `macs` and `parameters` of its network;
  `candidates_mean` of all scores; `reward_last` and `uniform_last`: means over the last 20 updates of
  rewards of the controller's draws and of uniform ones on the same rows, and `lead_last` of one over the
  other, with `lead_last_error`, its standard error over updates; with cells by gradient `skip_share`: the
  mean weight of the operation skip, 1/8 at first, and `weightless_share`: how many of the edges that are
  kept have no weights.

  Files: genotype.json, the best; candidates.json, the best few.
  """
  found = {name: np.asarray(x) for name, x in state["candidates"].items()}
  order = np.argsort(-found["scores"], kind="stable")[: recipe.derive.keep]
  genotypes = [
    genotype_of(nets, found["tokens"][i], found["cells"][i], {"score": float(found["scores"][i])})
    for i in order
  ]
  best = genotypes[0]
  numbers: dict[str, Any] = {
    "supernet_score": float(found["scores"].max()),
    "candidates_mean": float(found["scores"].mean()),
    "macs": best.facts["macs"],
    "parameters": best.facts["parameters"],
  }
  if recipe.cell.kind == "gradient":  # of others alpha stays as it was drawn
    numbers["skip_share"] = float(skips(state["alpha"]))
    numbers["weightless_share"] = weightless_share(best.cells)
  trace = {name: np.asarray(state["trace"][name]) for name in ("rewards", "observed")}
  last = {name: x[-LAST:].mean(axis=1) for name, x in trace.items() if x.size}  # of each update
  for name, key in (("reward_last", "rewards"), ("uniform_last", "observed")):
    numbers |= {name: float(last[key].mean())} if key in last else {}
  if len(last) == 2 and len(last["rewards"]) > 1:
    leads = last["rewards"] - last["observed"]  # both were scored on the same rows
    error = leads.std(ddof=1) / np.sqrt(len(leads))
    numbers |= {"lead_last": float(leads.mean()), "lead_last_error": float(error)}
  contents = [to_json(one) for one in genotypes]
  files = {
    "genotype.json": json.dumps(contents[0], indent=1) + "\n",
    "candidates.json": json.dumps({"genotypes": contents}, indent=1) + "\n",
  }
  figures: dict[str, Any] = {"architecture": partial(draw_genotype, best, stride=recipe.model.stride)}
  if trace["rewards"].size:
    curves = {"controller": trace["rewards"], "uniform": trace["observed"]}
    axes = {"xlabel": "update of the controller", "ylabel": "reward (OKS), ± one standard error"}
    figures["rewards"] = partial(error_bands, curves, **axes)
  return numbers, files, figures


def median_score(inputs: Inputs, rows: Mapping[str, Any]) -> float:
  """Computes the reward of the median training pose on rows."""
  counted = (rows["visible"] > 0).any(axis=1)
  found = np.broadcast_to(inputs.mean, rows["joints"].shape)
  area = rows["box"][:, 2] * rows["box"][:, 3]
  values = oks(found, rows["joints"], rows["visible"], area, inputs.skeleton.sigmas)
  return float(np.mean(np.asarray(values)[counted]))
