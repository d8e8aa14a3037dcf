"""Emoji, font digits and scenes: balanced classes, equal pictures for equal seeds, styles that stay apart."""

import numpy as np
import pytest

from vita_jax.data import emoji, fonts, scenes
from vita_jax.data.images import CIFAR10_CLASSES


def test_shipped_drawings_are_of_the_licences_that_may_ship():
  drawings = emoji.load_emoji()
  assert set(drawings.style) == set(emoji.STYLES) and not set(emoji.STYLES) & set(emoji.MORE_STYLES)
  assert np.bincount(drawings.label, minlength=10).min() >= 4
  assert len(drawings.of_styles(["noto"]).name) == 53
  with pytest.raises(ValueError, match="unknown style of emoji 'notto': did you mean 'noto'"):
    drawings.of_styles(["notto"])


def test_renderings_are_balanced_and_depend_on_the_seed_alone():
  drawings = emoji.load_emoji()
  one, again, other = (emoji.render(drawings, 40, size=16, seed=s) for s in (0, 0, 1))
  np.testing.assert_array_equal(one["image"], again["image"])
  assert np.bincount(one["label"]).tolist() == [4] * 10 and (one["image"] != other["image"]).any()


def test_a_class_of_imagenet_is_of_one_class_at_most():
  groups = emoji.imagenet_groups()
  assert set(groups.tolist()) == {-1, *range(10)}
  assert CIFAR10_CLASSES[groups[285]] == "cat" and CIFAR10_CLASSES[groups[867]] == "truck"


def test_digits_of_fonts():
  one = fonts.render_digits(30, size=12, fonts=fonts.HELD_OUT)
  assert np.bincount(one["label"]).tolist() == [3] * 10 and one["image"].max() > 150
  assert (one["image"] == fonts.render_digits(30, size=12, fonts=fonts.HELD_OUT)["image"]).all()
  with pytest.raises(ValueError, match="unknown font 'Arial'"):
    fonts.render_digits(1, fonts=["Arial"])


def test_scenes_have_exact_labels_and_two_looks_of_one_layout():
  flat, real = (scenes.scenes(6, size=24, look=look) for look in scenes.LOOKS)
  for found in (flat, real):
    assert set(np.unique(found["label"])) <= {*range(5), 255} and set(found["main"].tolist()) <= {0, 1, 2}
  inside = flat["label"][0] == 0  # one colour for the sky of a flat scene
  assert len(np.unique(flat["image"][0][inside], axis=0)) == 1
  assert len(np.unique(real["image"][0][real["label"][0] == 1], axis=0)) > 20
  with pytest.raises(ValueError, match="at least 16 pixels"):
    scenes.scenes(1, size=8)
