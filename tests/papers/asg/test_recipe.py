"""Methods are switches, and what cannot be honoured is refused by one line that names the key."""

import re

import jax
import numpy as np
import pytest
from papers.asg import small
from PIL import Image

from vita_jax.data.labelled import read_pictures
from vita_jax.losses.reinforce import discounted_returns
from vita_jax.nn import pretrained
from vita_jax.nn.policy import CategoricalPolicy, uniform_theta
from vita_jax.optim import controller_card, controller_names, load_controller
from vita_jax.papers.asg import data, model, rates
from vita_jax.papers.asg.recipe import METHODS, check, default_config, recipe_of


def _nets(config):
  recipe = recipe_of(config)
  return recipe, model.nets_of(recipe, 10, np.arange(4))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_resolves_with_groups_that_fit(method):
  recipe, nets = _nets(small.config(method))
  assert recipe.method == method and nets.names[-1] == "head"
  multipliers = rates.fixed_multipliers(recipe.rates, nets.names)
  assert multipliers[-1] == 1 and len(multipliers) == len(nets.names)


def test_fixed_multipliers_of_methods():
  def of(method):
    recipe, nets = _nets(small.config(method))
    return rates.fixed_multipliers(recipe.rates, nets.names).astype(float).round(4).tolist()

  assert of("source_only") == [1, 1, 1, 1] and of("backbone_x01") == [0.1, 0.1, 0.1, 1]
  assert of("surgical") == [1, 0, 0, 1] and of("frozen") == [1]
  assert recipe_of(small.config("l2_sp")).tune.decay == 0  # it pulls to the start in place of to 0
  assert of("layer_decay") == [round(2.6**-i, 4) for i in (3, 2, 1, 0)]


@pytest.mark.parametrize(
  "method, changes, line",
  [
    ("proxy", {"proxy.weight": -1.0}, "config.proxy.weight is -1.0: it must be a finite number, at least 0"),
    (
      "proxy",
      {"data.augment": "shift", "proxy.cache_teacher": True},
      "config.proxy.cache_teacher is True: its logits are of the pictures as they are",
    ),
    ("proxy", {"proxy.cache_teacher": True}, "a teacher with weights, not for fonts with cnn"),
    ("proxy", {"data.augment": "flip"}, "mirrored digits are none"),
    ("proxy", {"data.real": "svhn"}, "unknown config.data.real 'svhn'"),
    ("l2_sp", {"anchor.weight": 0.0}, "config.anchor.weight is 0: l2_sp needs a weight"),
    ("asg", {"controller.steps": 5}, "config.controller.steps is 5: an episode must be longer than"),
    ("random_policy", {"finetune.steps": 2}, "no decision is made before the first window"),
    ("proxy", {"data.name": "folder", "data.real": ""}, "config.data.synthetic is empty: folder needs"),
    ("proxy", {"model.kind": "fcn8s"}, "fcn8s is for segmentation and gta5 alone"),
    ("proxy", {"model.groups": ("stem",)}, "config.model.groups has 'stem': write 'name=regular expression'"),
    ("proxy", {"init_from": "runs/a"}, "config.init_from=runs/a: a student starts from its teacher"),
    ("proxy", {"data.ignore": 300}, "config.data.ignore is 300: it must be a whole number, from 0 to 255"),
  ],
)
def test_settings_that_cannot_be_are_refused(method, changes, line):
  with pytest.raises(ValueError, match=re.escape(line)):
    check(small.config(method, **changes))


def test_a_large_network_needs_its_weights():
  config = default_config("proxy", {"data.name": "folder", "data.synthetic": "a", "data.real": "b"})
  config.model.kind = "resnet50"
  with pytest.raises(ValueError, match=r"config.model.weights is empty: resnet50 starts from ImageNet's"):
    check(config)


def test_groups_that_miss_a_parameter_or_have_none_are_refused():
  with pytest.raises(ValueError, match=r"parameter 'head/out/bias' matches no group"):
    _nets(small.config("proxy", **{"model.groups": ("body=^trunk/",)}))
  groups = ("stem=^stem/", "body=^trunk/", "head=^head/")
  with pytest.raises(ValueError, match="stem"):
    _nets(small.config("proxy", **{"model.groups": groups}))


def test_a_teacher_of_another_shape_is_refused(tmp_path):
  from vita_jax.train.weights import save_params

  _, nets = _nets(small.config("proxy"))
  teacher = model.first_weights(nets, jax.random.key(0))[1]
  save_params(tmp_path / "teacher.safetensors", {k: teacher[k] for k in ("trunk", "old")})
  found = {"model.weights": str(tmp_path / "teacher.safetensors")}
  _, again = _nets(small.config("proxy", **found))
  assert again.loaded is not None
  with pytest.raises(ValueError, match=r"'old/kernel' is \(32, 4\), not \(40, 4\)"):
    _nets(small.config("proxy", **found, **{"model.width": 5}))


def _folders(root, *, classes=("cat", "dog"), other=None, size=(12, 12)):
  rng = np.random.default_rng(0)
  for side, names in (("synthetic", classes), ("real", other or classes)):
    for name in names:
      (root / side / name).mkdir(parents=True)
      for i in range(6):
        shape = (*(size if i == 3 else (12, 12)), 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(root / side / name / f"{i}.png")
  config = default_config("proxy", {"data.name": "folder", "data.held_out": 4, "data.quick": 4})
  config.data.update({"synthetic": str(root / "synthetic"), "real": str(root / "real"), "size": 8})
  config.finetune.batch = 4
  return config


def test_folders_become_pictures_of_one_size(tmp_path):
  found = data.read_inputs(recipe_of(_folders(tmp_path, size=(9, 20))))
  assert found.train.arrays["image"].shape == (8, 8, 8, 3) and found.classes == ("cat", "dog")
  assert len(found.held_out["label"]) == 4 and len(found.real.arrays["label"]) == 8


def test_a_folder_is_predicted_as_one_picture_is(tmp_path):
  for i, size in enumerate(((12, 20), (8, 8), (8, 8))):
    Image.fromarray(np.full(size, 10 * i, np.uint8)).save(tmp_path / f"{i}.png")
  found = read_pictures(str(tmp_path), size=8, mode="L")["image"]
  assert found.shape == (3, 8, 8, 1) and found[:, 0, 0, 0].tolist() == [0, 10, 20]
  np.testing.assert_array_equal(read_pictures(str(tmp_path / "1.png"), size=8, mode="L")["image"], found[1:2])
  with pytest.raises(ValueError, match=r"1.png is 8 x 8 and 0.png 12 x 20: predict pictures of one size"):
    read_pictures(str(tmp_path), size=0, mode="L")
  with pytest.raises(FileNotFoundError, match="no file"):
    read_pictures(str(tmp_path / "none.png"), size=8, mode="L")


def test_a_class_of_which_nothing_is_left_is_refused(tmp_path):
  """Its accuracy would be missing from the mean over classes, and nobody told."""
  config = _folders(tmp_path)
  config.data.quick = 11  # of 12: one picture is the test
  with pytest.raises(
    ValueError, match=r"config.data.quick is 11: that leaves no picture of class \d of .*real"
  ):
    data.read_inputs(recipe_of(config))


def test_a_class_on_one_side_alone_is_refused(tmp_path):
  config = _folders(tmp_path, other=("cat", "cow"))
  with pytest.raises(ValueError, match=r"class 'dog' is in .*synthetic and not in .*real: both need every"):
    data.read_inputs(recipe_of(config))


def test_pictures_of_unequal_sizes_are_refused_where_they_are_to_fit(tmp_path):
  config = _folders(tmp_path, size=(12, 14))
  config.data.fit = "none"
  with pytest.raises(ValueError, match=r"3.png is 12 x 14 and the first picture 12 x 12"):
    data.read_inputs(recipe_of(config))


def test_an_ignored_label_that_is_a_class_and_labels_that_are_none_are_refused():
  changes = {"data.name": "segmentation", "data.size": 16, "data.count": 2, "data.held_out": 2}
  changes |= {"data.quick": 2, "model.kind": "fcn8s", "finetune.batch": 1}
  with pytest.raises(ValueError, match=r"config.data.ignore is 3"):
    data.read_inputs(recipe_of(default_config("proxy", {**changes, "data.ignore": 3})))
  with pytest.raises(ValueError, match="a label map has 19: there are 19 classes, from 0 on, and 255 is"):
    data.check_labels(np.array([0, 19, 255]), 19, 255)


def test_a_reward_that_is_not_a_number_is_refused():
  with pytest.raises(ValueError, match="reward 1 is nan: the loss it comes from is not finite"):
    discounted_returns(np.array([0.5, np.nan]), 0.0)


def test_a_controller_that_is_not_there_or_of_other_groups_is_refused(tmp_path):
  from vita_jax.optim import save_controller

  with pytest.raises(FileNotFoundError, match="no controller at"):
    load_controller(tmp_path, CategoricalPolicy(4))
  _, nets = _nets(small.config("asg"))
  save_controller(tmp_path, uniform_theta(nets.policy), {"groups": list(nets.names)})
  assert load_controller(tmp_path, CategoricalPolicy(4))["params"]["head_kernel"].shape == (4, 101, 11)
  with pytest.raises(ValueError, match="head_"):
    load_controller(tmp_path, CategoricalPolicy(7))


def test_a_controller_is_found_where_a_table_has_split_its_row_by_seeds(tmp_path):
  from vita_jax.optim import save_controller

  _, nets = _nets(small.config("asg"))
  for number, place in enumerate(("seed_10", "seed_9")):
    (tmp_path / place).mkdir()
    theta = jax.tree.map(lambda x, n=number: x + n, uniform_theta(nets.policy))
    save_controller(tmp_path / place, theta, {"groups": list(nets.names)})
  assert float(load_controller(tmp_path, CategoricalPolicy(4))["params"]["head_bias"][0, 0]) == 1


@pytest.mark.parametrize("name", controller_names())
def test_a_shipped_controller_is_found_by_its_name_and_says_what_it_has_seen(name):
  card = controller_card(name)
  theta = load_controller(name, CategoricalPolicy(len(card["groups"])))
  assert np.isfinite(theta["params"]["head_kernel"]).all() and "/" not in card["trained on"]["data"]
  assert card["groups"] == dict(pretrained.GROUPS[card["trained on"]["network"]])


def test_an_unknown_controller_is_told_of_those_that_ship():
  assert controller_names() == ("asg-emoji", "asg-fonts")
  with pytest.raises(
    FileNotFoundError, match="no controller at asg-font: .* that ships: asg-emoji, asg-fonts"
  ):
    load_controller("asg-font", CategoricalPolicy(4))
  with pytest.raises(ValueError, match="asg-font.*asg-fonts"):
    controller_card("asg-font")
