"""Pictures in tiles: what a function of limited reach computes is the same, with one shape of tiles."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from vita_jax.data.tiles import through_tiles


def picture(height, width, channels=3):
  return np.random.default_rng(height).random((height, width, channels)).astype(np.float32)


def blurred(images, reach=5):
  """A function that sees `reach` pixels far."""
  return uniform_filter(images, (1, 2 * reach + 1, 2 * reach + 1, 1), mode="mirror")


class Recorded:
  def __init__(self, function):
    self.function, self.shapes = function, []

  def __call__(self, images):
    self.shapes.append(images.shape)
    return self.function(images)


@pytest.mark.parametrize("size", [(100, 164), (200, 40), (33, 129), (64, 65), (61, 400)])
def test_with_a_margin_of_its_reach_a_function_gives_the_whole_pictures_result(size):
  x, function = picture(*size), Recorded(blurred)
  found = through_tiles(function, x, tile=64, overlap=24, margin=6)
  padded = np.pad(x, ((0, -size[0] % 4), (0, -size[1] % 4), (0, 0)), mode="reflect")
  np.testing.assert_allclose(found, blurred(padded[None])[0, : size[0], : size[1]], atol=2e-6)
  assert found.shape == x.shape and found.dtype == np.float32
  assert len(set(function.shapes)) == 1  # compiled once
  assert all(side % 4 == 0 and side <= 64 for side in function.shapes[0][1:3])


def test_far_from_the_seams_nothing_but_the_tile_counts_and_between_them_it_is_a_blend():
  x = np.zeros((32, 112, 1), np.float32)
  values = iter([1.0, 2.0, 3.0])
  found = through_tiles(lambda images: images + next(values), x, tile=48, overlap=16, margin=2)[0, :, 0]
  assert set(found[:34]) == {1.0} and set(found[46:66]) == {2.0} and set(found[78:]) == {3.0}  # exactly
  assert np.all(np.diff(found[33:47]) > 0) and np.all((1 <= found) & (found <= 3))
  np.testing.assert_allclose(np.diff(found[34:46]), 1 / 12, atol=1e-6)


def test_a_picture_that_fits_goes_through_in_one_piece():
  x = picture(90, 130)
  for options in ({"largest": 92 * 132}, {"tile": 132}):
    function = Recorded(lambda images: images - images.mean())  # it sees everything
    found = through_tiles(function, x, **{"tile": 64, "overlap": 16, **options})
    assert function.shapes == [(1, 92, 132, 3)]
    padded = np.pad(x, ((0, 2), (0, 2), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(found, (padded - padded.mean())[:90, :130])
  function = Recorded(blurred)
  through_tiles(function, x, tile=64, overlap=16, largest=92 * 132 - 1)
  assert len(function.shapes) > 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 17), (16, 16)])
def test_pictures_of_a_few_pixels_are_continued_and_cut_back(size):
  function = Recorded(lambda images: images)
  x = picture(*size)
  np.testing.assert_array_equal(through_tiles(function, x), x)
  assert min(function.shapes[0][1:3]) >= 16


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"tile": 62}, "tile is 62: it must be a multiple of 4"),
    ({"tile": 12}, "at least 16"),
    ({"tile": 64, "overlap": 64}, "overlap is 64: it must be from 0 to 60"),
    ({"tile": 64, "overlap": 16, "margin": 8}, "margin is 8"),
  ],
)
def test_sizes_that_do_not_fit_are_refused(options, words):
  with pytest.raises(ValueError, match=words):
    through_tiles(blurred, picture(40, 40), **options)


def test_what_is_no_picture_or_changes_its_size_is_refused():
  with pytest.raises(ValueError, match=r"\[height, width, channels\]"):
    through_tiles(blurred, np.zeros((4, 4)))
  with pytest.raises(ValueError, match="it must keep the size"):
    through_tiles(lambda images: images[:, :-1], picture(40, 40))
