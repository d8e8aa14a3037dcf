"""Batch norm in torch's convention: biased variance to normalise, unbiased in the running value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.norm import BatchNorm, InstanceNorm, batch_norm

X = np.random.default_rng(0).normal(2.0, 3.0, (10, 4, 5)).astype(np.float32)
IMAGES = np.random.default_rng(0).normal(size=(2, 11, 10, 3)).astype(np.float32)
PARAMS = {"scale": jnp.linspace(0.5, 2.0, 5), "bias": jnp.arange(5.0)}
START = {"mean": jnp.zeros(5), "var": jnp.ones(5)}


def _apply(x, **options):
  variables = {"params": PARAMS, "batch_stats": START}
  return BatchNorm().apply(variables, jnp.asarray(x), mutable=["batch_stats"], **options)


def test_its_formula_and_its_running_values():
  y, new = _apply(X, train=True)
  x, axes = np.float64(X), (0, 1)
  expected = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) * PARAMS["scale"] + PARAMS["bias"]
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * x.mean(axes), rtol=1e-5)
  np.testing.assert_allclose(new["batch_stats"]["var"], 0.9 + 0.1 * x.var(axes, ddof=1), rtol=1e-5)
  y, _ = _apply(X, train=False)
  np.testing.assert_allclose(
    y, X / np.sqrt(1 + 1e-5) * PARAMS["scale"] + PARAMS["bias"], rtol=1e-5, atol=1e-5
  )


def test_masked_rows_are_not_there():
  padded = np.concatenate([X, 1e3 * np.ones((3, 4, 5), np.float32)])
  y, new = _apply(padded, train=True, mask=jnp.append(jnp.ones(10), jnp.zeros(3)))
  expected, stats = _apply(X, train=True)
  np.testing.assert_allclose(y[:10], expected, rtol=1e-4, atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, stats)
  y, _ = _apply(X, train=True, mask=jnp.zeros(10))
  assert jnp.isfinite(y).all()


def test_instance_norm_leaves_every_channel_of_every_image_centred():
  x = jnp.asarray(X.reshape(5, 4, 2, 5))
  y = InstanceNorm().apply({}, x)
  np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(y.var((1, 2)), 1, atol=1e-3)
  assert InstanceNorm().apply({}, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
  with pytest.raises(ValueError, match="more than one place"):
    InstanceNorm().apply({}, x[:, :1, :1])


def test_batch_norm_is_its_formula():
  y = batch_norm(jnp.asarray(IMAGES), jnp.arange(1.0, 4.0), jnp.array([0.0, 1.0, -1.0]), epsilon=1e-3)
  x = np.float64(IMAGES)
  expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3) * [1, 2, 3] + [0, 1, -1]
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
