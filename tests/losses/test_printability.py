"""Total variation and non-printability in closed form."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.losses.printability import PRINTABLE_COLORS, non_printability, total_variation


def test_total_variation_of_one_step_in_closed_form():
  step = np.zeros((256, 256, 3))
  step[:, 128:] = 1.0
  with jax.enable_x64(True):
    found = float(total_variation(jnp.asarray(step)))
  quiet = 1e-6 * (2 * 256 * 255 * 3) / (3 * 65536)
  np.testing.assert_allclose(found, 256 * 3 / (3 * 65536) + quiet, rtol=1e-9)
  assert total_variation(jnp.zeros((4, 5, 6, 3))).shape == (4,)


def test_a_printable_colour_costs_what_rounding_costs():
  image = jnp.broadcast_to(jnp.asarray(PRINTABLE_COLORS[7]), (5, 4, 3))
  expected = np.sqrt(1e-6 + 3e-12) / 3
  np.testing.assert_allclose(non_printability(image), expected, rtol=1e-4)
  np.testing.assert_allclose(expected, 3.3333e-4, rtol=1e-4)


def test_non_printability_is_the_distance_to_the_nearest():
  image = jnp.array([[[1.0, 0.0, 0.0]]])
  distances = np.sqrt(((np.array([1.0, 0, 0]) - PRINTABLE_COLORS) ** 2).sum(axis=1))
  np.testing.assert_allclose(non_printability(image), distances.min() / 3, rtol=1e-4)
  assert PRINTABLE_COLORS.shape == (30, 3)
  assert np.isfinite(jax.grad(lambda x: non_printability(x))(jnp.asarray(PRINTABLE_COLORS)[None])).all()
