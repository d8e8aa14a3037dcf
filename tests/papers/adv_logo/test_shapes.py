"""Shapes of the logo against the released formulas, and pictures of one's own."""

import math

import numpy as np
import pytest
from PIL import Image

from vita_jax.papers.adv_logo.shapes import SHAPES, shape_mask


def _released_g(n):
  """The released code's G, pixel by pixel, before its vertical flip."""
  r, drawn = (n - 1) / 2, np.zeros((n, n))
  for i in range(n):
    for j in range(n):
      distance = math.hypot(i - r, j - r)
      drawn[i, j] = 0.6 * r < distance < r
      if i > r and j != r and 0 < math.atan((i - r) / (j - r)) < math.pi / 4:
        drawn[i, j] = 0
      if 0.8 * r < i < 1.2 * r and j > r:
        drawn[i, j] = 1
      if distance >= r:
        drawn[i, j] = 0
  return drawn[::-1]


def _released_h(h, w):
  rows, columns = np.arange(h)[:, None], np.arange(w)
  return (columns < 0.4 * w) | (columns >= 0.6 * w) | ((rows >= 0.4 * h) & (rows < 0.6 * h))


@pytest.mark.parametrize("n", [21, 100])
def test_g_is_the_released_one(n):
  np.testing.assert_array_equal(shape_mask("G", (n, n)), _released_g(n))


def test_h_is_the_released_one():
  np.testing.assert_array_equal(shape_mask("H", (150, 100)), _released_h(150, 100))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_prints_a_part_of_the_rectangle(shape):
  drawn = shape_mask(shape, (150, 100))
  assert drawn.shape == (150, 100) and drawn.dtype == np.float32
  assert set(np.unique(drawn)) <= {0.0, 1.0}
  assert 0.2 < drawn.mean() <= 1 and (shape == "full") == (drawn.mean() == 1)
  columns = np.flatnonzero(drawn.any(axis=0))
  assert columns[-1] - columns[0] > 60  # it fills the rectangle


def test_letters_open_where_they_should():
  c, t, x = (shape_mask(name, (101, 101)) for name in "CTX")
  assert c[50, 95] == 0 and c[50, 5] == 1
  assert t[5, 5] == 1 and t[95, 5] == 0 and t[95, 50] == 1
  assert x[5, 50] == 0 and x[50, 50] == 1


@pytest.mark.parametrize("transparent", [True, False])
def test_a_picture_of_ones_own_prints_what_is_opaque_or_dark(transparent, tmp_path):
  pixels = np.full((30, 20, 4), 255, np.uint8)
  if transparent:
    pixels[15:, :, 3] = 0  # the upper half is opaque, and white
  else:
    pixels[:15, :, :3] = 20
  Image.fromarray(pixels).save(tmp_path / "own.png")
  drawn = shape_mask(str(tmp_path / "own.png"), (10, 10))
  np.testing.assert_array_equal(drawn, np.repeat([1.0, 0.0], 5)[:, None] * np.ones(10))


@pytest.mark.parametrize(
  ("content", "message"),
  [(None, "no file"), (b"no picture", "is not a readable PNG"), ("white", "prints nothing")],
)
def test_a_bad_picture_is_named_in_one_line(content, message, tmp_path):
  path = tmp_path / "own.png"
  if content == "white":
    Image.new("RGB", (8, 8), "white").save(path)
  elif content:
    path.write_bytes(content)
  with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
    shape_mask(str(path), (10, 10))
  assert "\n" not in str(caught.value)


def test_an_unknown_shape_names_the_nearest():
  with pytest.raises(ValueError, match="unknown shape 'dropp': did you mean 'drop'"):
    shape_mask("dropp", (10, 10))
