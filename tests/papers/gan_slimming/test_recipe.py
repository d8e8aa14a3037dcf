"""Bad settings and bad pictures are one line that names cause and remedy; the methods are switches."""

from pathlib import Path

import jax
import numpy as np
import pytest
from papers.gan_slimming import small
from PIL import Image

from vita_jax.base.files import load_python_file
from vita_jax.compress import layer_bytes
from vita_jax.nn import features
from vita_jax.nn.gan import ResnetGenerator, resnet_widths
from vita_jax.papers.gan_slimming.channels import check_floor, choose_channels
from vita_jax.papers.gan_slimming.data import Inputs, read_inputs, to_floats
from vita_jax.papers.gan_slimming.model import nets_of
from vita_jax.papers.gan_slimming.recipe import METHODS, check, default_config, recipe_of
from vita_jax.papers.gan_slimming.report import quality
from vita_jax.train.weights import save_params

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
  ("method", "overrides", "message"),
  [
    ("gs32", {"slim.steps": 600}, "config.slim.rho is 0.01: over 600 steps it takes 0.3 off a scale of 1"),
    ("gs32", {"slim.rho": 0.0}, "config.slim.rho is 0, which prunes nothing"),
    ("gs32", {"slim.steps": 0}, "config.slim.steps is 0: config.objective.prune needs steps"),
    ("gs32", {"finetune.steps": 0}, "config.finetune.steps is 0"),
    ("random", {}, "config.channels is random, which needs config.budget.macs"),
    ("teacher", {"slim.steps": 600}, "config.method is teacher, which slims nothing"),
    ("teacher", {"teacher.path": "runs/t"}, "config.teacher.path is the teacher of another run"),
    ("gs32", {"data.crop": 62}, "config.data.crop is 62: it must be a multiple of 4"),
    ("gs32", {"data.crop": 16}, "config.data.crop is 16: too small for config.discriminator.depth=3"),
    ("gs32", {"data.side": 48}, "config.data.side is 48: smaller than config.data.crop"),
    ("gs32", {"data.style": "pairs"}, "config.data.source is empty"),
    ("gs32", {"data.style": "pairs", "data.source": "a"}, "config.data.target is empty: the style pairs"),
    ("gs32", {"data.style": "domains", "data.source": "a"}, "without it give a trained config.teacher.path"),
    ("gs8", {"quant.bits": 9}, "config.quant.bits is 9: it must be a whole number, from 2 to 8"),
    ("d", {"budget.macs": 0.5}, "config.method is d, which keeps all channels: it has no config.budget"),
    ("gs32", {"data.target": "a"}, "config.data.style is cartoon, which takes no folder of that"),
    ("gs32", {"channels": "all"}, "config.channels is all: set config.objective.prune=False"),
  ],
)
def test_settings_that_cannot_be_are_one_line(method, overrides, message):
  config = default_config(method)
  config.update_from_flattened_dict(overrides)
  with pytest.raises(ValueError, match=message) as caught:
    check(config)
  assert "\n" not in str(caught.value)


def test_methods_are_switches_of_one_objective():
  switches = {}
  for method in METHODS:
    config = default_config(method)
    if config.channels != "all" or config.student == "narrow":
      config.budget.macs = 0.5
    recipe = recipe_of(config)
    slim = recipe.slim
    switches[method] = (slim.distil, slim.rho > 0, recipe.quant is not None, slim.gan)
  assert switches["gs32"] == (True, True, False, True) and switches["gs8"] == (True, True, True, True)
  assert switches["cp"] == (False, True, False, True) and switches["q"] == (False, False, True, True)
  assert switches["d"] == (True, False, False, False) and switches["d_cp"] == (True, True, False, False)
  with pytest.raises(ValueError, match="unknown method 'gs16': did you mean 'gs"):
    default_config("gs16")


def test_a_budget_below_the_floor_names_the_floor(tmp_path):
  recipe = recipe_of(small.config(tmp_path, **{"budget.macs": 0.05}))
  with pytest.raises(ValueError, match=r"config.budget.macs is 0.05, below the floor of 0\.\d+") as caught:
    check_floor(recipe, nets_of(recipe))
  assert "\n" not in str(caught.value)


def test_a_stem_without_channels_is_one_line(tmp_path):
  recipe = recipe_of(small.config(tmp_path, **{"budget.macs": 0.9}))
  nets = nets_of(recipe)
  params = small.weights(nets.student)
  params["stem"]["scale"] = 0 * params["stem"]["scale"]
  with pytest.raises(ValueError, match="all 4 channels of 'stem' are pruned .* smaller rho") as caught:
    choose_channels(recipe, nets, {"params": {"generator": params}}, jax.random.key(0), None)
  assert "\n" not in str(caught.value)


def test_pictures_that_do_not_serve_are_named(tmp_path):
  config = small.config(tmp_path)
  (tmp_path / "one").mkdir()
  Image.new("L", (20, 20)).save(tmp_path / "one" / "a.png")
  one, gone = str(tmp_path / "one"), str(tmp_path / "nowhere")
  cases = {
    "one has 1 picture: with config.data.held_out=4 none is left": {
      "data.style": "domains",
      "data.source": one,
    },
    "no folder .*nowhere": {"data.source": gone},
    "source has '0' and .*one has not .*pairs need equal names": {"data.target": one},
  }
  for message, changes in cases.items():
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
      read_inputs(recipe_of(_changed(config, changes)))
    assert "\n" not in str(caught.value)
  (tmp_path / "source" / "0.png").write_bytes(b"not a picture")
  with pytest.raises(ValueError, match="0.png is not a readable image"):
    read_inputs(recipe_of(config))


def test_a_student_that_gives_the_targets_has_a_kernel_distance_of_zero():
  """Its pictures and the targets are partners: counted as strangers they would be nearer than 0."""
  pictures = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
  test = {"image": pictures, "target": pictures}
  inputs = Inputs([], None, 16, test, np.arange(6) // 2, pictures, None, "")
  net = features.load("random", form="native")
  seen = {"random": features.pooled_features(net, pictures)}
  found = quality(to_floats(pictures), inputs, None, [net], seen)
  assert found["kernel_random"] == pytest.approx(0.0, abs=1e-6) and found["mse_target"] == 0


def test_grey_and_transparent_pictures_are_taken(tmp_path):
  config = small.config(tmp_path)
  Image.new("LA", (28, 24), (90, 128)).save(tmp_path / "source" / "3.png")
  assert {row["image"].shape[-1] for row in read_inputs(recipe_of(config)).rows} == {3}


def test_teachers_that_do_not_fit_are_named(tmp_path):
  config = small.config(tmp_path, **{"teacher.path": str(tmp_path / "gone")})
  with pytest.raises(FileNotFoundError, match="no teacher at .*params.safetensors: train one"):
    nets_of(recipe_of(config))
  net = ResnetGenerator(resnet_widths(2, 1), form="native")
  save_params(tmp_path / "teacher.safetensors", small.weights(net))
  config.teacher.path = str(tmp_path / "teacher.safetensors")
  with pytest.raises(
    ValueError, match="of the generator is .* give the settings that the teacher was trained with"
  ) as caught:
    nets_of(recipe_of(config))
  assert "\n" not in str(caught.value)
  config.generator.base = 2
  assert nets_of(recipe_of(config)).loaded["generator"]["stem"]["kernel"].shape == (7, 7, 3, 2)


def test_a_teacher_file_with_a_network_of_another_name_is_refused(tmp_path):
  """Read without it, a student would meet a discriminator that was never trained."""
  config = small.config(tmp_path, **{"teacher.path": str(tmp_path / "teacher.safetensors")})
  weights = small.weights(nets_of(recipe_of(small.config(tmp_path))).teacher)
  save_params(tmp_path / "teacher.safetensors", {"generator": weights, "judge": weights})
  with pytest.raises(ValueError, match="teacher.safetensors has a network 'judge'.*train the teacher again"):
    nets_of(recipe_of(config))


def test_a_narrow_student_is_half_as_wide_or_as_wide_as_the_budget_allows(tmp_path):
  half = nets_of(recipe_of(small.config(tmp_path, "gd"))).student.widths
  assert (half.stem, half.down, half.blocks) == (2, (4, 8), (8,))
  nets = nets_of(recipe_of(small.config(tmp_path, "gd", **{"budget.bytes": 0.7})))
  assert nets.student.widths.stem == 3 and layer_bytes(nets.student.layers) <= 0.7 * layer_bytes(
    nets.teacher.layers
  )


def _changed(config, changes):
  found = config.copy_and_resolve_references()
  found.update_from_flattened_dict(changes)
  return found


@pytest.mark.parametrize("name", ["cartoon", "horse2deer", "custom"])
def test_the_method_has_the_last_word_in_every_config(name):
  """A teacher that was slimmed as well would be the teacher of a whole table."""
  get_config = load_python_file(ROOT / "configs" / "gan_slimming" / f"{name}.py").get_config
  for method, changes in METHODS.items():
    config = get_config(method)
    assert all(config[group][leaf] == value for (group, _, leaf), value in _parts(changes)), method
  assert get_config("teacher").slim.steps == get_config("teacher").finetune.steps == 0


def _parts(changes):
  return [(key.partition("."), value) for key, value in changes.items() if "." in key]
