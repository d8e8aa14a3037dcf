"""Bad settings and bad hands are one line that names cause and remedy; the methods are switches."""

from pathlib import Path

import numpy as np
import pytest
from papers.mm_hand import small

from vita_jax.base.files import load_python_file
from vita_jax.papers.mm_hand.data import read_inputs
from vita_jax.papers.mm_hand.model import nets_of
from vita_jax.papers.mm_hand.recipe import METHODS, check, default_config, recipe_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
  ("method", "overrides", "message"),
  [
    ("mm_hand", {"data.size": 66}, "config.data.size is 66: it must be a multiple of 4"),
    ("pix2pix", {"data.size": 68}, "config.data.size is 68: it must be a multiple of 8"),
    ("pix2pix", {"data.size": 16}, "config.discriminator.blocks is 3: a patch discriminator"),
    ("mm_hand", {"data.name": "stb"}, "config.data.folder is empty: stb needs the folder"),
    ("mm_hand", {"generator.modalities": ()}, "of pose, depth, joints, at least one"),
    ("mm_hand", {"generator.modalities": ("pose", "pose")}, "name each one once"),
    ("mm_hand", {"discriminator.judges": ("shape", "contour")}, "of appearance, shape, joints, picture, map"),
    ("mm_hand", {"loss.cycle": 1.0}, "are for the way back of config.generator.kind=cycle"),
    ("mm_hand", {"discriminator.judges": ("map",)}, "are for the way back of config.generator.kind=cycle"),
    ("pix2pix", {"discriminator.head": "patch"}, "config.discriminator.head is patch: that is for"),
    (
      "mm_hand",
      {"curriculum.kind": "anti", "curriculum.pacing": "steps"},
      "config.curriculum.pacing is steps",
    ),
    ("mm_hand", {"loss.net": "full"}, "unknown config.loss.net 'full'"),
    ("mm_hand", {"loss.net": "lite", "report.judge": "lite"}, "a judge must not be trained for"),
    ("mm_hand", {"loss.pose": 1.0, "report.judge": "lite"}, "a judge must not be trained for"),
    ("patn", {"generator.modalities": ("pose", "depth")}, "config.method is patn"),
  ],
)
def test_settings_that_cannot_be_are_one_line(method, overrides, message):
  config = default_config(method)
  config.update_from_flattened_dict(overrides)
  with pytest.raises(ValueError, match=message) as caught:
    check(config)
  assert "\n" not in str(caught.value)


def test_methods_are_switches_of_one_step():
  recipes = {method: recipe_of(default_config(method)) for method in METHODS}
  judges = {method: [phase.judges for phase in recipe.phases] for method, recipe in recipes.items()}
  assert judges["mm_hand"] == judges["patn"] == judges["no_attention"] == [("appearance", "shape")]
  assert judges["pix2pix"] == [("joints",)] and judges["pg2"] == [(), ("appearance",)]
  assert judges["copy_source"] == [] and judges["cyclegan"] == [("picture", "map")]
  paper = recipes["mm_hand"].phases[0]
  assert (paper.l1, paper.perceptual, paper.gan, paper.pool, paper.pose) == (10, 10, 5, 50, 0)
  with pytest.raises(ValueError, match="unknown method 'mmhand': did you mean 'mm_hand'"):
    default_config("mmhand")


def test_a_network_of_a_loss_without_weights_is_refused(tmp_path, monkeypatch):
  """Random features in their place would look like a loss."""
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  for name in ("hed_vgg16", "lite"):
    recipe = recipe_of(small.config(tmp_path, **{"loss.net": name}))
    with pytest.raises(FileNotFoundError, match="no weights|no .*weights|not there|lite"):
      nets_of(recipe)


def _changed(folder, **changes):
  arrays = {name: x for name, x in {**small.columns(), **changes}.items() if x is not None}
  config = small.config(folder)
  np.savez(config.data.folder, **arrays)
  return recipe_of(config)


def test_hands_that_do_not_serve_are_named(tmp_path):
  hands = small.columns()
  broken, stb = (
    hands["uv"].copy(),
    [0, *range(17, 21), *range(13, 17), *range(9, 13), *range(5, 9), *range(1, 5)],
  )
  broken[3, 5] = np.nan
  cases = {
    "has no 'test': hands of one's own are image, uv, xyz, test": {"test": None},
    r"'image' is \[16, 8, 8, 3\], not \[16, 16, 16, 3\]": {"image": hands["image"][:, ::2, ::2]},
    "'test' is the same for all hands": {"test": np.ones(16, bool)},
    "of row 3 is not finite": {"uv": broken},
    "multiply metres by 1000": {"xyz": hands["xyz"] / 1000},
    "far outside of a picture of 16 x 16": {"uv": hands["uv"] + 100},
    "its joints are in the order of STB_ORDER": {"xyz": hands["xyz"][:, stb], "uv": hands["uv"][:, stb]},
    "'image' is float32: it must be uint8": {"image": hands["image"].astype(np.float32) / 255},
    r"'identity' is \[3\], not \[16\]": {"identity": np.arange(3)},
    "its depth map is .* mm from the joints": {"depth": hands["depth"] / 1000},
    "u does not follow x / z": {"uv": hands["uv"][..., ::-1]},
    "100 % of the hands are 700 mm away or more": {
      "xyz": hands["xyz"] + np.float32([0, 0, 400]),
      "depth": None,
    },
    "an identity has a single training picture": {"identity": np.arange(16)},
  }
  for message, changes in cases.items():
    with pytest.raises(ValueError, match=message) as caught:
      read_inputs(_changed(tmp_path, **changes))
    assert "\n" not in str(caught.value), message
  pix2pix = small.config(tmp_path, "pix2pix", **{"discriminator.blocks": 1})  # draws no depth maps
  np.savez(pix2pix.data.folder, **{**hands, "xyz": hands["xyz"] * 2, "depth": hands["depth"] * 2})
  with pytest.warns(
    RuntimeWarning, match="candidates is 32, and an identity of hands.npz has 6 hands: every"
  ):
    pix2pix.curriculum.candidates = 32
    assert read_inputs(recipe_of(pix2pix)).train["candidates"].shape == (12, 5)
  config = small.config(tmp_path, **{"depth.source": "learned"})
  np.savez(config.data.folder, **{name: x for name, x in hands.items() if name != "depth"})
  with pytest.raises(ValueError, match="has no depth maps, which config.depth.source=learned learns from"):
    read_inputs(recipe_of(config))


@pytest.mark.parametrize("name", ["rendered", "stb", "rhd", "custom"])
def test_the_method_has_the_last_word_in_every_config(name):
  get_config = load_python_file(ROOT / "configs" / "mm_hand" / f"{name}.py").get_config
  for method in METHODS:
    check(get_config(method))
