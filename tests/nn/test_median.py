"""The median filter against numpy's median, and its gradient against that of a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.median import median_filter


def _windows(image, size):
  reach = size // 2
  padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
  height, width = image.shape[:2]
  return jnp.stack([padded[i : i + height, j : j + width] for i in range(size) for j in range(size)])


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("values", ["any", "few", "tiny"])
def test_medians_are_numpys(size, values):
  image = np.random.default_rng(0).random((11, 9, 3), np.float32)
  if values == "few":
    image = np.round(image, 1)
  if values == "tiny":
    image = image * np.float32(1e-30) - 0.0
  expected = np.median(np.asarray(_windows(jnp.asarray(image), size)), axis=0)
  np.testing.assert_array_equal(median_filter(jnp.asarray(image), size), expected)


@pytest.mark.parametrize("size", [1, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_the_gradient_goes_to_the_selected_pixel_as_that_of_a_sort(size):
  image = jax.random.uniform(jax.random.key(0), (11, 9, 3))
  weights = jax.random.normal(jax.random.key(1), image.shape)

  def by_sort(x):
    return jnp.sum(weights * jnp.sort(_windows(x, size), axis=0)[size * size // 2])

  found = jax.grad(lambda x: jnp.sum(weights * median_filter(x, size)))(image)
  np.testing.assert_allclose(found, jax.grad(by_sort)(image), atol=1e-5)


def test_equal_pixels_share_no_gradient():
  image = jnp.full((5, 5, 1), 0.5)
  found = jax.grad(lambda x: median_filter(x, 3).sum())(image)
  np.testing.assert_allclose(found.sum(), 25.0)


def test_a_batch_is_filtered_image_by_image():
  images = jax.random.uniform(jax.random.key(0), (2, 9, 8, 3))
  both = median_filter(images, 3)
  np.testing.assert_array_equal(both[1], median_filter(images[1], 3))
  np.testing.assert_array_equal(jax.vmap(lambda x: median_filter(x, 3))(images), both)


@pytest.mark.parametrize(
  ("size", "message"), [(4, "has an odd size, got 4"), (9, "too small for a median filter")]
)
def test_what_cannot_be_filtered_is_refused(size, message):
  with pytest.raises(ValueError, match=message):
    median_filter(jnp.zeros((4, 4, 1)), size)
