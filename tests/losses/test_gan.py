"""Adversarial losses in closed form, on maps and on their means; gradients of padded rows are 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.losses.gan import KINDS, discriminator_loss, generator_loss

MAP = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5, 1)), jnp.float32)


def test_least_squares_at_one_half_are_a_quarter():
  half = jnp.full((3, 4, 5, 1), 0.5)
  for unit in ("places", "images"):
    np.testing.assert_allclose(generator_loss(half, unit=unit), 0.25, rtol=1e-6)
    np.testing.assert_allclose(discriminator_loss(half, half, unit=unit), 0.25, rtol=1e-6)


def test_scores_of_zero_in_closed_form():
  zero = jnp.zeros((2, 3, 3, 1))
  expected = {"least_squares": (1.0, 0.5), "hinge": (0.0, 1.0), "non_saturating": (np.log(2), np.log(2))}
  for kind, (generator, discriminator) in expected.items():
    np.testing.assert_allclose(generator_loss(zero, kind=kind), generator, atol=1e-6)
    np.testing.assert_allclose(discriminator_loss(zero, zero, kind=kind), discriminator, rtol=1e-6)


def test_hinge_is_flat_where_the_discriminator_is_sure_and_minimal_there():
  real, fake = jnp.array([1.5, 3.0]), jnp.array([-1.0, -4.0])
  assert float(discriminator_loss(real, fake, kind="hinge")) == 0
  gradient = jax.grad(lambda r, f: discriminator_loss(r, f, kind="hinge"), (0, 1))(real + 1, fake - 1)
  assert not np.any(gradient)


def test_the_mean_of_a_map_is_judged_or_its_places():
  """mean (d - 1)^2 over places = (mean d - 1)^2 + variance of the map."""
  means, variances = MAP.mean((1, 2, 3)), MAP.var((1, 2, 3))
  np.testing.assert_allclose(generator_loss(MAP, unit="images"), jnp.mean((means - 1) ** 2), rtol=1e-5)
  np.testing.assert_allclose(generator_loss(MAP), jnp.mean((means - 1) ** 2 + variances), rtol=1e-5)
  np.testing.assert_allclose(generator_loss(means), generator_loss(MAP, unit="images"), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["places", "images"])
def test_padded_rows_count_for_nothing(kind, unit):
  weights = jnp.array([1.0, 0.0, 1.0])
  two = MAP[jnp.array([0, 2])]
  options = {"kind": kind, "unit": unit}
  expected = generator_loss(two, **options)
  np.testing.assert_allclose(generator_loss(MAP, weights=weights, **options), expected, rtol=1e-5)
  found, gradient = jax.value_and_grad(
    lambda fake: discriminator_loss(MAP, fake, real_weights=weights, fake_weights=weights, **options)
  )(MAP)
  np.testing.assert_allclose(found, discriminator_loss(two, two, **options), rtol=1e-5)
  assert not np.any(gradient[1]) and (np.any(gradient[0]) or kind == "hinge")


def test_each_side_lowers_its_loss_by_the_right_move():
  """The generator by higher scores of its images, the discriminator by lower ones and by higher real ones."""
  scores = jnp.full((2, 2, 2, 1), 0.3)
  for kind in KINDS:
    assert np.all(jax.grad(generator_loss)(scores, kind=kind) < 0)
    on_real, on_fake = jax.grad(discriminator_loss, (0, 1))(scores, scores, kind=kind)
    assert np.all(on_real < 0) and np.all(on_fake > 0)


def test_large_scores_stay_finite():
  for sign in (1, -1):
    scores = jnp.full((2,), sign * 1e4)
    assert np.isfinite(generator_loss(scores, kind="non_saturating"))
    assert np.isfinite(discriminator_loss(scores, -scores, kind="non_saturating"))


def test_unknown_names_are_answered_by_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'hinge'"):
    generator_loss(MAP, kind="hing")
  with pytest.raises(ValueError, match="did you mean 'images'"):
    discriminator_loss(MAP, MAP, unit="image")
