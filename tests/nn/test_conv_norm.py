"""A convolution with its batch norm is the two of them; EfficientNet-Lite0 made of it is the folded one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nn.seeded import images

from vita_jax.base import named_leaves
from vita_jax.data.sources import source_files
from vita_jax.nn import efficientnet, features
from vita_jax.nn.conv import Conv
from vita_jax.nn.conv_norm import ConvNorm
from vita_jax.nn.detectors.weights import fitted
from vita_jax.nn.norm import BatchNorm

X = images(3, 9, 8, 4)
OPTIONS = {"plain": (6, 3, 2, 1, 1), "depthwise": (4, 3, 1, "SAME", 4)}


def _both(options):
  """(the layer, its variables, and the same of a convolution and a batch norm)."""
  features, size, stride, padding, groups = options
  layer = ConvNorm(features, size, stride, padding, groups, epsilon=1e-3, form="native")
  variables = layer.init(jax.random.key(0), X)
  rng = np.random.default_rng(1)
  variables = jax.tree.map(lambda x: x + jnp.asarray(0.3 * rng.random(x.shape), jnp.float32), variables)
  conv = Conv(features, size, stride, padding, groups=groups, use_bias=False, form="native")
  norm = BatchNorm(epsilon=1e-3)

  def apart(variables, x, train):
    params = variables["params"]
    y = conv.apply({"params": {"kernel": params["kernel"]}}, x)
    shifted = {"params": {k: params[k] for k in ("scale", "bias")}, "batch_stats": variables["batch_stats"]}
    return norm.apply(shifted, y, train=train, mutable=["batch_stats"])

  return layer, variables, apart


@pytest.mark.parametrize("kind", OPTIONS)
def test_it_is_a_convolution_and_a_norm_with_their_gradients(kind):
  layer, variables, apart = _both(OPTIONS[kind])
  weights = images(*layer.apply(variables, X).shape, seed=2)

  def loss(apply, params, x):
    return jnp.sum(apply({**variables, "params": params}, x) * weights)

  def plain(variables, x):
    return apart(variables, x, False)[0]

  np.testing.assert_allclose(layer.apply(variables, X), plain(variables, X), rtol=1e-4, atol=1e-5)
  found, expected = (
    jax.grad(functools.partial(loss, apply), argnums=(0, 1))(variables["params"], X)
    for apply in (layer.apply, plain)
  )
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_in_training_it_is_the_batch_norm_that_there_is():
  layer, variables, apart = _both(OPTIONS["plain"])
  found, moved = layer.apply(variables, X, train=True, mutable=["batch_stats"])
  expected, statistics = apart(variables, X, True)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  for name in ("mean", "var"):
    np.testing.assert_allclose(moved["batch_stats"][name], statistics["batch_stats"][name], rtol=1e-5)


def test_frozen_statistics_stay_to_the_bit_while_scale_and_shift_move():
  layer, variables, _ = _both(OPTIONS["plain"])
  tx = optax.sgd(0.1)

  def loss(params):
    y, statistics = layer.apply({**variables, "params": params}, X, mutable=["batch_stats"])
    return jnp.mean(jnp.square(y)), statistics

  params, state = variables["params"], tx.init(variables["params"])
  for _ in range(2):
    (_, after), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = tx.update(gradients, state)
    params = optax.apply_updates(params, updates)
  for name, x in named_leaves(variables["batch_stats"]).items():
    np.testing.assert_array_equal(after["batch_stats"][name], x)
  for name in ("kernel", "scale", "bias"):
    assert np.all(params[name] != variables["params"][name])


@pytest.fixture(scope="module")
def lite0():
  if source_files(features.source_name("efficientnet_lite0")) is None:
    pytest.skip("the weights of efficientnet_lite0 are not under $VITA_DATA_DIR")
  return features.published_arrays("efficientnet_lite0")


def test_lite0_with_norms_of_its_own_is_the_folded_network(lite0):
  """The real weights, in the type that the norms are folded in; 4,652,008 of them may be trained."""
  variables = efficientnet.variables_of_torch(lite0)
  folded = efficientnet.params_of_torch(lite0)
  x = images(1, 32, 32, 3)
  found = jax.jit(efficientnet.EfficientNetLite0("native", "batch").apply)(variables, x)
  expected = jax.jit(efficientnet.EfficientNetLite0("native").apply)({"params": folded}, x)
  assert found.features.shape == (1, 1280)
  np.testing.assert_allclose(found.features, expected.features, atol=1e-4)
  np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3)
  assert sum(v.size for v in jax.tree.leaves(variables["params"])) == 4_652_008


def test_lite0_has_the_tree_that_its_file_fills(lite0):
  module = efficientnet.EfficientNetLite0("native", "batch")
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)
  assert fitted("efficientnet_lite0", efficientnet.variables_of_torch(lite0), shapes)
  with pytest.raises(ValueError, match="the batch norms are folded and have no statistics to train"):
    jax.eval_shape(
      lambda: efficientnet.EfficientNetLite0("native").init(
        jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=True
      )
    )
