"""Content and style in closed form, over any pyramid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.losses import perceptual


def two_layers(images):
  return {"a": images, "b": 2.0 * images[:, ::2, ::2, :2]}


def images(seed):
  return jnp.asarray(np.random.default_rng(seed).uniform(size=(2, 4, 6, 3)), jnp.float32)


def test_the_distance_is_that_of_the_formula():
  s, t = np.asarray(images(0), np.float64), np.asarray(images(1), np.float64)

  def gram(f):
    f = f.reshape(len(f), -1, f.shape[-1])
    return f.transpose(0, 2, 1) @ f / (f.shape[1] * f.shape[2])

  style = sum(((gram(two_layers(s)[n]) - gram(two_layers(t)[n])) ** 2).mean() for n in ("a", "b"))
  expected = 1.0 * np.abs(s - t).mean() + 1e5 * style
  found = perceptual.perceptual_distance(two_layers, images(0), images(1), content=("a",), style=("a", "b"))
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  options = {"content": ("a",), "style": ("b",), "content_weight": 3.0, "style_weight": 0.0}
  found = perceptual.perceptual_distance(two_layers, images(0), images(1), **options)
  np.testing.assert_allclose(found, 3 * np.abs(s - t).mean(), rtol=1e-5)


def test_style_does_not_see_where_things_are():
  x = images(2)
  moved = x.reshape(2, -1, 3)[:, ::-1].reshape(x.shape)
  maps = {"a": x}
  assert float(perceptual.style_distance(maps, {"a": moved}, ("a",))) < 1e-12
  assert float(perceptual.content_distance(maps, {"a": moved}, ("a",))) > 0.1


def test_only_the_student_gets_a_gradient():
  def distance(s, t):
    return perceptual.perceptual_distance(two_layers, s, t, content=("a",), style=("b",))

  on_student, on_target = jax.grad(distance, (0, 1))(images(0), images(1))
  assert np.any(on_student) and not np.any(on_target)
  assert float(distance(images(0), images(0))) == 0


def test_a_layer_that_is_not_there_is_named():
  with pytest.raises(ValueError, match="no layer 'relu1_2': it has a, b"):
    perceptual.perceptual_distance(two_layers, images(0), images(1), content=("relu1_2",), style=())
