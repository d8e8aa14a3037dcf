"""Settings: methods are switches, and what does not go together is refused in one line."""

from pathlib import Path

import pytest
from papers.autopose import small

from vita_jax.base.files import load_python_file
from vita_jax.nn.hrnet import HRNet
from vita_jax.nn.simple_baseline import SimpleBaseline
from vita_jax.papers.autopose.model import nets_of
from vita_jax.papers.autopose.recipe import METHODS, default_config, recipe_of
from vita_jax.papers.autopose.steps import updates_of, weight_steps

FILES = {"data.annotations": "a.json", "data.folder": "a"}
DETECTED = {**FILES, "data.test_annotations": "b.json", "data.test_folder": "b", "data.detections": "x.json"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_resolves(method):
  step = "retrain:all_edges" if method == "retrain" else method
  recipe = recipe_of(small.config(step))
  assert recipe.method == method
  assert recipe.searches == (method in ("search", "random", "uniform", "cell_only", "network_only", "evolve"))


def test_the_full_scale_is_the_default_and_a_genotype_is_an_argument():
  config = default_config("retrain:runs/a/seed_{seed}/genotype.json#2")
  config.seed = 3
  assert recipe_of(config).genotype == "runs/a/seed_3/genotype.json#2"
  assert default_config("search").space.stages == 4


@pytest.mark.parametrize(
  ("step", "changes", "says"),
  [
    ("search", {"data.size": (36, 32)}, "multiples of 8"),
    ("search", {"search.warm": 12}, "of 12 steps none is left to search"),
    ("search", {"genotype": "all_edges"}, "a search takes none"),
    ("search", {"data.stream": True}, "are for coco, mpii, custom"),
    ("search", {"model.stride": 3}, "must be 2 or 4"),
    ("search", {"derive.keep": 9}, "there are 3 candidates"),
    ("search", {"network.kind": "evolve"}, "config's argument"),
    ("search", {"method": "uniform"}, "config's argument"),
    ("retrain", {}, "config.genotype is empty"),
    ("retrain:x/{seed}.json", {"seeds": 2}, "run one seed at a time"),
    ("cell_only", {"controller.macs": 1e6}, "network.kind is fixed"),
    ("retrain:all_edges", {"data.half_body": 0.3}, "needs whole pictures"),
    ("retrain:all_edges", {"data.name": "custom"}, "annotations is empty"),
    ("retrain:all_edges", {"data.name": "coco", "data.detections": "x.json"}, "detections are the boxes of"),
    ("retrain:all_edges", {"data.name": "mpii", **DETECTED}, "detections are the boxes of"),
    ("hrnet", {"data.size": (48, 48)}, "multiples of 32"),
    ("single_branch", {"model.published": True}, "model.published is for HRNet and SimpleBaseline"),
    ("evolve", {"evolution.population": 2, "controller.samples": 4}, "evolution.population is 2"),
  ],
)
def test_what_does_not_go_together_is_refused_in_one_line(step, changes, says):
  config = small.config(step, **changes)
  with pytest.raises(ValueError, match=says) as error:
    recipe_of(config)
  assert "\n" not in str(error.value)


def test_steps_on_weights_and_of_the_controller_add_up():
  recipe = recipe_of(small.config("search"))
  assert (weight_steps(recipe), updates_of(recipe)) == (9, 3)  # 3 warm, then rounds of 2 and 1
  assert updates_of(recipe_of(small.config("cell_only"))) == 0


COCO = load_python_file(Path(__file__).parents[3] / "configs" / "autopose" / "coco.py")


def _full(step):
  """The recipe of the full scale, of files that nobody reads here."""
  config = COCO.get_config(f"full:{step}")
  config.data.update({"annotations": "train.json", "folder": "train"})
  return recipe_of(config)


@pytest.mark.slow
def test_the_full_scale_has_the_published_baselines():
  hrnet, simple = (nets_of(_full(step), 17).single.net for step in ("hrnet", "simple_baseline"))
  assert hrnet == HRNet(17, form=hrnet.form) and simple == SimpleBaseline(17, form=simple.form)


def test_the_gaussians_of_the_full_scale_are_of_one_size_on_the_picture():
  sigmas = {recipe.data.size: recipe.data.sigma for recipe in map(_full, ("search", "hrnet"))}
  assert sigmas == {(128, 96): 1.0, (256, 192): 2.0}  # at a stride of 4: half the picture, half of sigma
