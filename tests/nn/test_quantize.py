"""Levels, steps and straight-through gradients of the quantiser: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.quantize import (
  Quant,
  activation_levels,
  check_quant,
  fake_quant,
  fake_quant_weights,
  level_range,
  weight_levels,
  weight_step,
)


def test_weights_of_the_oracle_and_their_gradient():
  w = jnp.array([-1.27, 0.01, 0.634, 1.27])
  np.testing.assert_allclose(fake_quant_weights(w), [-1.27, 0.01, 0.63, 1.27], atol=1e-6)
  np.testing.assert_array_equal(
    jax.grad(lambda w: fake_quant_weights(w) @ jnp.arange(4.0))(w), np.arange(4.0)
  )


def test_steps_of_channels_and_weights_that_are_all_zero():
  w = jnp.array([[1.27, 0.0, 2.54], [-0.3, 0.0, 1.0]])
  np.testing.assert_allclose(weight_step(w, per_channel=True), [0.01, 1e-8 / 127, 0.02], rtol=1e-6)
  assert weight_step(w, bits=4) == pytest.approx(2.54 / 7)
  np.testing.assert_array_equal(fake_quant_weights(w, per_channel=True)[:, 1], 0.0)
  assert np.abs(weight_levels(w, weight_step(w, bits=4))).max() == 7


def test_activations_of_the_oracle_and_their_gradients():
  a = jnp.array([1.0, -3.0, 9.0, 0.0, 4.0])
  np.testing.assert_allclose(fake_quant(a, 4.0), [64 * 4 / 255, 0, 4, 0, 4], atol=1e-6)
  # Both ends belong to the range: ReLU puts values exactly on 0.
  np.testing.assert_allclose(jax.grad(lambda a: fake_quant(a, 4.0).sum())(a), [1, 0, 0, 1, 1], rtol=1e-6)
  signed = fake_quant(jnp.array([-9.0, -1.0, 5.0]), 4.0, signed=True)
  np.testing.assert_allclose(signed, [-4, -32 * 4 / 127, 4], atol=1e-6)


@pytest.mark.parametrize(
  ("options", "levels"),
  [
    ({}, 256),
    ({"paper_code_compat": True}, 257),
    ({"signed": True}, 255),
    ({"bits": 4}, 16),
    ({"bits": 2}, 4),
  ],
)
def test_the_number_of_levels_over_a_dense_grid(options, levels):
  grid = jnp.linspace(-6, 6, 20001)
  found, step = activation_levels(grid, 4.0, **options)
  assert len(np.unique(found)) == levels
  np.testing.assert_array_equal(found, np.round(found))
  assert float(np.max(found) * step) == pytest.approx(4.0)


def test_the_gradient_of_a_learned_clip_is_that_of_what_it_clips():
  a = jnp.array([1.0, 5.0, -7.0, 6.0, 4.0])
  cotangent = jnp.array([1.0, 10.0, 100.0, 1000.0, 10000.0])

  def loss(clip, signed):
    return fake_quant(a, clip, signed=signed) @ cotangent

  assert float(jax.grad(loss)(4.0, False)) == pytest.approx(1010.0)
  assert float(jax.grad(loss)(4.0, True)) == pytest.approx(1010.0 - 100.0)


def test_halves_round_to_even_and_levels_are_the_same_under_jit():
  rng = np.random.default_rng(0)
  a = jnp.asarray(rng.normal(size=4096) * 3, jnp.float32)
  for clip in (4.0, jnp.float32(3.7)):
    eager, compiled = activation_levels(a, clip), jax.jit(lambda a, clip=clip: activation_levels(a, clip))(a)
    np.testing.assert_array_equal(eager[0], compiled[0])
    assert eager[1] == compiled[1]
  step = weight_step(a)
  assert step == jax.jit(weight_step)(a)
  np.testing.assert_array_equal(fake_quant(jnp.array([0.5, 1.5, 2.5]), 255.0), [0.0, 2.0, 2.0])


@pytest.mark.parametrize("bits", [1, 9, 12, 2.5])
def test_bits_are_2_to_8_everywhere(bits):
  a = jnp.ones(3)
  for call in (
    lambda: fake_quant(a, 4.0, bits=bits, signed=True),
    lambda: fake_quant(a, 4.0, bits=bits),
    lambda: fake_quant_weights(a, bits=bits),
    lambda: level_range(bits=bits, paper_code_compat=True),
  ):
    with pytest.raises(ValueError, match=f"bits is {bits}: it must be a whole number from 2 to 8"):
      call()


@pytest.mark.parametrize("clip", [-1, 0.0, float("nan"), float("inf")])
def test_a_number_as_clip_is_positive_and_finite(clip):
  for call in (lambda: fake_quant(jnp.ones(3), clip), lambda: check_quant(Quant(clip=clip))):
    with pytest.raises(ValueError, match=f"clip is {clip}: it must be above 0"):
      call()
  assert fake_quant(jnp.ones(3), jnp.float32(-1)).max() < 1e-7  # a learned one may pass 0


@pytest.mark.parametrize(
  ("quant", "message"),
  [
    (Quant(weight_bits=1), "weight_bits is 1"),
    (Quant(activation_bits=9), "activation_bits is 9"),
    (Quant(clip_kind="fix"), "did you mean 'fixed'"),
    (Quant(clip=0.0), "clip is 0.0"),
    (Quant(percentile=0.0), "percentile is 0.0"),
    (Quant(decay=1.0), "decay is 1.0"),
  ],
)
def test_settings_that_make_no_sense_are_refused(quant, message):
  with pytest.raises(ValueError, match=message):
    check_quant(quant)
