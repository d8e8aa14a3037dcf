"""Whole runs of seconds: a search finds and scores networks, one is trained, and what is written runs."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.autopose import small
from PIL import Image

from vita_jax import train
from vita_jax.compress import traced_macs
from vita_jax.papers import autopose
from vita_jax.papers.autopose import data, steps
from vita_jax.papers.autopose.export import save_pictures
from vita_jax.papers.autopose.recipe import recipe_of
from vita_jax.papers.autopose.stages import candidates, first_state
from vita_jax.pose.skeletons import COCO
from vita_jax.search import empty_population
from vita_jax.search.branches import of_json, read_genotype, read_genotypes
from vita_jax.train.program_file import run_program, write_program

pytestmark = pytest.mark.filterwarnings("ignore:ap is left out")


def _run(config, workdir):
  """(summary, final state, experiment)."""
  experiment, seen = autopose.build(config), {}

  def report(state, evaluate, sweep):
    seen["state"] = state
    return experiment.report(state, evaluate, sweep)

  summary = train.run(experiment._replace(report=report), config, workdir, quiet=True)
  return summary, seen["state"], experiment


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
  """A search of plain cells: what all searches do but for the mixtures."""
  workdir = tmp_path_factory.mktemp("search")
  return workdir, *_run(small.config("network_only"), workdir)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A network of the space, trained by itself."""
  workdir = tmp_path_factory.mktemp("train")
  config = small.config("retrain:all_edges", **{"budget.macs": 3e5, "model.stem": 6})
  return workdir, *_run(config, workdir)


@pytest.mark.slow
def test_a_search_scores_candidates_and_writes_the_best_first(searched):
  workdir, summary, state, _ = searched
  numbers = {name: entry["mean"] for name, entry in summary["metrics"].items()}
  scores = np.asarray(state["candidates"]["scores"])
  assert len(scores) == 3 and (scores >= 0).all() and numbers["supernet_score"] == pytest.approx(scores.max())
  listed = read_genotypes(str(workdir / "candidates.json"))
  found = [one.facts["score"] for one in listed]
  assert len(listed) == 2 and found == sorted(found, reverse=True)
  assert read_genotype(str(workdir / "candidates.json#1"), listed[0].space).facts == listed[1].facts
  wanted = {"reward_last", "uniform_last", "lead_last", "median_pose_score", "macs", "pck_0.2", "oks"}
  assert wanted <= numbers.keys()
  assert all(
    (workdir / "figures" / f"{name}.png").exists() for name in ("architecture", "rewards", "mistakes")
  )


@pytest.mark.slow
def test_what_a_search_found_is_what_is_trained(searched):
  genotype = searched[0] / "genotype.json"
  recipe = recipe_of(small.config(f"retrain:{genotype}", **{"budget.macs": 3e5}))
  nets = autopose.nets_of(recipe, 17)
  assert nets.macs == pytest.approx(3e5, rel=0.05) and nets.genotype.facts["score"] > 0


@pytest.mark.slow
def test_all_steps_on_weights_and_of_the_controller_were_taken(searched):
  state = searched[2]
  assert int(state["trace"]["count"]) == 3 and (np.asarray(state["trace"]["rewards"]) > 0).all()
  assert "learner" not in state and "theta" in state


def test_a_network_is_trained_at_the_budget(trained):
  workdir, summary, state, _ = trained
  numbers = {name: entry["mean"] for name, entry in summary["metrics"].items()}
  assert numbers["macs"] == pytest.approx(3e5, rel=0.05)
  assert numbers["parameters"] == sum(x.size for x in jax.tree.leaves(state["params"]))
  people = json.loads((workdir / "people.json").read_text())
  assert len(people["picture"]) == len(people["labelled"]) == 10
  assert sum(people["pck_0.2"]) / sum(people["labelled"]) == pytest.approx(numbers["pck_0.2"])
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  assert all(0 < row["metrics"]["loss"] < 1 for row in rows)
  assert np.asarray(state["params"]["head"]["conv"]["bias"]).all()  # 0 at first


@pytest.mark.parametrize("which", [pytest.param("searched", marks=pytest.mark.slow), "trained"])
def test_what_is_exported_runs_on_pictures_and_writes_keypoints_and_drawings(which, request, tmp_path):
  _, _, state, experiment = request.getfixturevalue(which)
  exported = experiment.export(state)
  folder = tmp_path / "pictures"
  folder.mkdir()
  for i, size in enumerate(((40, 30), (32, 64))):
    picture = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / f"{i}.png")
  inputs = exported.read(str(folder))
  assert inputs["image"].shape == (2, 32, 32, 3)
  outputs = run_program(exported, inputs)
  inside = exported.decode(str(folder), outputs)["joints"]
  assert inside.shape == (2, 17, 2)
  out = tmp_path / "out"
  out.mkdir()
  exported.save(str(folder), {**outputs, "joints": inside}, out)
  results = json.loads((out / "keypoints.json").read_text())
  assert len(results) == 2 and len(results[0]["keypoints"]) == 51 and results[0]["category_id"] == 1
  assert json.loads((out / "files.json").read_text()) == {"1": "0.png", "2": "1.png"}
  assert (out / "0.png").exists() and (out / "1.png").exists()
  exported.write(tmp_path)
  assert of_json(json.loads((tmp_path / "genotype.json").read_text())).facts["macs"] > 0
  if which == "trained":
    write_program(tmp_path / "program.jax", exported, platforms=("cpu",))
    program = jax.export.deserialize(bytearray((tmp_path / "program.jax").read_bytes()))
    weights = {
      "/".join(k.key for k in path): x for path, x in jax.tree_util.tree_leaves_with_path(exported.params)
    }
    found = program.call(weights, inputs)
    np.testing.assert_allclose(found["scores"], outputs["scores"], atol=1e-4)


def test_pictures_of_one_name_and_two_kinds_are_both_drawn(tmp_path):
  for name in ("a.png", "a.jpg", "b.png"):
    Image.fromarray(np.zeros((20, 16, 3), np.uint8)).save(tmp_path / name)
  outputs = {"joints": np.full((3, 17, 2), 5.0), "scores": np.ones((3, 17))}
  out = tmp_path / "out"
  out.mkdir()
  save_pictures(COCO, str(tmp_path), outputs, out)
  assert {path.name for path in out.glob("*.png")} == {"a.jpg.png", "a.png.png", "b.png"}


def test_the_median_pose_needs_no_network(tmp_path):
  summary, _, _ = _run(small.config("mean_pose"), tmp_path)
  assert summary["metrics"]["oks"]["mean"] > 0.05 and summary["metrics"]["macs"]["mean"] == 0


@pytest.mark.parametrize("method", ["hrnet", "simple_baseline"])
def test_baselines_are_fitted_to_the_budget(method):
  own = {"budget.macs": 6e6, "space.branches": 3, "model.stem": 16}  # as on pedestrians, a quarter the size
  config = small.config(method, **own, **{"model.stride": 2})
  recipe = recipe_of(config)
  nets = autopose.nets_of(recipe, 17)
  assert nets.macs == pytest.approx(6e6, rel=0.05)
  # Those of the network on the enlarged picture; enlarging it is no part of any published count.
  net, image = nets.single.net.clone(form="native"), jnp.zeros((1, 64, 64, 3))
  shapes = jax.eval_shape(net.init, jax.random.key(0), image)
  assert nets.macs == traced_macs(net.apply, shapes, image)
  variables = jax.eval_shape(
    partial(nets.single.init, train=True), jax.random.key(0), jnp.zeros((1, 32, 32, 3))
  )
  maps = jax.eval_shape(nets.single.apply, variables, jnp.zeros((1, 32, 32, 3)))
  assert maps.shape == (1, 16, 16, 17)


def test_rows_that_train_choose_and_score_are_different_ones():
  recipe = recipe_of(small.config("search"))
  weights, chooser, held = data.parts(recipe, np.arange(40))
  assert [x.tolist() for x in (weights, chooser, held)] == [
    [*range(20)],
    [*range(20, 35)],
    [*range(35, 40)],
  ]
  inputs = data.read_inputs(recipe)
  images = [part.arrays["image"] for part in (inputs.weights, inputs.chooser, inputs.held)]
  assert [len(x) for x in images] == [20, 15, 5]
  np.testing.assert_array_equal(np.concatenate(images), inputs.train.arrays["image"])
  with pytest.raises(ValueError, match="too few"):
    data.parts(recipe, np.arange(1))
  with pytest.raises(ValueError, match="too few"):
    data.parts(recipe, np.zeros(40))


SLOW = ("search", "random", "uniform", "evolve", "cell_only")  # ten seconds of tracing each


@pytest.mark.parametrize("method", ["network_only", *(pytest.param(m, marks=pytest.mark.slow) for m in SLOW)])
def test_every_search_lowers_to_one_program_for_all_steps(method):
  """Its step is traced, not compiled: all methods share it, and their states keep their structure."""
  recipe = recipe_of(small.config(method))
  nets, inputs = autopose.nets_of(recipe, 17), data.read_inputs(recipe)
  state = jax.eval_shape(partial(first_state, recipe, nets), jax.random.key(0))
  step = partial(steps.search_step, recipe, nets, inputs.skeleton, steps.optimizers_of(recipe))
  rows = {name: x[:6] for name, x in inputs.train.arrays.items()}
  new, found = jax.eval_shape(step, state, {**rows, steps.CHOOSER: rows}, jnp.int32(0))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
  assert set(found) == set(steps.NAMES)
  listed = jax.eval_shape(partial(candidates, recipe, nets), state)
  assert listed["tokens"].shape[0] == (1 if method == "cell_only" else 3)


def _scores_only(monkeypatch):
  """Scoring without networks: a reward is the sum of tokens / 100, and the luck of the batch."""
  monkeypatch.setattr(steps, "network_of", lambda space, tokens: tokens)
  monkeypatch.setattr(
    steps, "forward", lambda net, params, stats, images, tokens, *_, sparse: (tokens, stats)
  )
  monkeypatch.setattr(steps, "reward_of", lambda *given: jnp.sum(given[2]) / 100 + given[3]["luck"])


@pytest.mark.parametrize("method", ["uniform", "evolve"])
def test_an_easy_batch_makes_no_architecture_better(monkeypatch, method):
  """Leads over those of the same batch are kept: with the rewards themselves all would be of the last one."""
  recipe = recipe_of(small.config(method, **{"controller.samples": 3, "controller.observed": 0}))
  nets = autopose.nets_of(recipe, 17)
  _scores_only(monkeypatch)
  length, n = nets.tokens.length, recipe.space.branches
  state = {
    "params": {},
    "stats": {},
    "alpha": jnp.zeros((n, 6, 8)),
    "population": empty_population(nets.tokens, 6),
    "pool": {
      "tokens": jnp.zeros((3, length), jnp.int32),
      "cells": jnp.zeros((3, n, 6), jnp.int32),
      "rewards": jnp.full(3, -1.0),
    },
    "trace": {"rewards": jnp.zeros((2, 3)), "observed": jnp.zeros((2, 0)), "count": jnp.int32(0)},
  }
  for i, luck in enumerate((0.0, 0.5)):
    batch = {steps.CHOOSER: {"image": jnp.zeros((1, 4, 4, 3)), "luck": luck}}
    key = jax.random.key(i)
    state, _ = steps._choose(recipe, nets, None, None, batch, key, jnp.int32(9), state)
  rewards = np.asarray(state["trace"]["rewards"])
  leads = rewards - rewards.mean(axis=1, keepdims=True)
  assert leads[0].max() > np.sort(leads[1])[1]  # one of the first batch is among the best three
  best = np.sort(leads.ravel())[::-1]
  np.testing.assert_allclose(state["pool"]["rewards"], best[:3], atol=1e-6)
  if method == "evolve":
    np.testing.assert_allclose(np.sort(state["population"].fitness)[::-1], best, atol=1e-6)


@pytest.mark.slow
def test_weights_and_alpha_learn_from_their_own_rows_alone():
  recipe = recipe_of(small.config("search", **{"search.every": 3}))
  nets, inputs = autopose.nets_of(recipe, 17), data.read_inputs(recipe)
  state = jax.jit(partial(first_state, recipe, nets))(jax.random.key(0))
  step = jax.jit(partial(steps.search_step, recipe, nets, inputs.skeleton, steps.optimizers_of(recipe)))
  one, other = ({n: x[i : i + 6] for n, x in inputs.train.arrays.items()} for i in (0, 20))

  def moved(batch, t):
    new, found = step(state, batch, jnp.int32(t))
    return new, {name: float(pair[1]) for name, pair in found.items()}

  warm, weights = moved({**one, steps.CHOOSER: other}, 0)
  np.testing.assert_array_equal(warm["alpha"], state["alpha"])  # fixed in the warm start
  assert weights == {
    "loss": 1,
    "alpha_loss": 0,
    "skip_share": 1,
    "reward": 0,
    "uniform_reward": 0,
    "entropy": 0,
  }
  first, _ = moved({**one, steps.CHOOSER: other}, 3)
  second, _ = moved({**one, steps.CHOOSER: one}, 3)
  third, _ = moved({**other, steps.CHOOSER: other}, 3)
  leaves = [jax.tree.leaves(x["params"]) for x in (first, second, third)]
  assert all(np.array_equal(a, b) for a, b in zip(leaves[0], leaves[1], strict=True))
  assert not all(np.array_equal(a, b) for a, b in zip(leaves[0], leaves[2], strict=True))
  assert not np.array_equal(first["alpha"], second["alpha"])
  without, weights = moved({**one, steps.CHOOSER: other}, 4)  # not a multiple of search.every
  np.testing.assert_array_equal(without["alpha"], state["alpha"])
  assert weights["loss"] == 1 and weights["alpha_loss"] == 0
  scored, weights = moved({**one, steps.CHOOSER: other}, 5)
  assert all(
    np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(scored["params"]), jax.tree.leaves(state["params"]), strict=True)
  )
  assert weights["reward"] == 1 and weights["loss"] == 0
  assert not np.array_equal(scored["learner"].theta["bias"], state["learner"].theta["bias"])
