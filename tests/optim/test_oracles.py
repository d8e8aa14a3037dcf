"""Numbers that can be worked out by hand: features, cells, single weights, sizes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.table import DOCUMENTED, every_kind, gradients_like, play, theta_of
from vita_jax.optim import KINDS
from vita_jax.optim.dm import preprocess
from vita_jax.optim.gru import gru
from vita_jax.optim.lstm import lstm

GRADIENTS = [{"x": jnp.array([0.3, -2.0, 5e-4])}, {"x": jnp.array([-0.1, 4.0, 0.02])}]
X = {"x": jnp.zeros(3)}


def _zeros(kind, **values):
  """Zero weights but for `values`, "linear/b" written as linear__b."""
  theta = jax.tree.map(jnp.zeros_like, theta_of(kind))
  for name, value in values.items():
    *folders, leaf = name.split("__")
    node = theta
    for folder in folders:
      node = node[folder]
    node[leaf] = jnp.asarray(value, jnp.float32).reshape(node[leaf].shape)
  return theta


def _updates(kind, theta, gradients=GRADIENTS, **options):
  found, _ = play(KINDS[kind].build(theta, **options), gradients, jax.tree.map(jnp.zeros_like, gradients[0]))
  return np.stack([u["x"] for u in found])


@every_kind
def test_how_many_weights(kind):
  shapes = jax.eval_shape(KINDS[kind].init_theta, jax.random.key(0))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == DOCUMENTED[kind].weights
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(shapes))


@pytest.mark.parametrize("kind", ["l2o_dm", "rnnprop"])
def test_first_weights_are_drawn_as_recorded(kind):
  """Gates and their biases truncated at two sigma of 1/sqrt(inputs + hidden); zero readout bias."""
  theta = KINDS[kind].init_theta(jax.random.key(3))
  inputs = 22 if kind == "l2o_dm" else 40
  for layer, fan_in in (("lstm_1", inputs), ("lstm_2", 40)):
    assert theta[layer]["w_gates"].shape == (fan_in, 80)
    for x in theta[layer].values():
      sigma = 1 / math.sqrt(fan_in)
      assert np.abs(x).max() <= 2 * sigma
      # A normal cut off at two sigma has 0.88 of its deviation.
      np.testing.assert_allclose(np.std(x), 0.88 * sigma, rtol=0.06 if x.ndim == 2 else 0.25)
  assert not theta["linear"]["b"].any() and theta["linear"]["w"].any()


@pytest.mark.parametrize(
  "g, expected",
  [
    (0.1, (-0.460517, 1.0)),
    (-math.exp(-5), (-0.9999965, -1.0)),
    (1e-3, (-1.0, 0.1484132)),
    (0.0, (-1.0, 0.0)),
    (math.exp(5), (1.0, 1.0)),
    (-math.exp(10), (2.0, -1.0)),  # sizes have no upper clamp
  ],
)
def test_what_l2o_dm_sees_of_a_gradient(g, expected):
  np.testing.assert_allclose(preprocess(jnp.float32(g)), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize("kind", ["l2o_dm", "rnnprop", "l2o_mlp"])
def test_zero_weights_do_not_move(kind):
  np.testing.assert_array_equal(_updates(kind, _zeros(kind)), np.zeros((2, 3)))


@pytest.mark.parametrize(
  "kind, bias, expected",
  [
    ("l2o_dm", 1.0, 0.01),  # no tanh
    ("l2o_dm", -30.0, -0.3),
    ("rnnprop", 1.0, 0.00761594),
    ("rnnprop", -30.0, -0.01),
    ("l2o_mlp", (1.0, 0.0), -1e-3),
    ("l2o_mlp", (-2.0, 500.0), 2e-3 * math.exp(0.5)),
  ],
)
def test_the_readout_bias_alone_is_the_update(kind, bias, expected):
  found = _updates(kind, _zeros(kind, linear__b=bias))
  np.testing.assert_allclose(found, np.full((2, 3), expected), rtol=1e-6)


def test_the_scale_of_the_output_is_an_option():
  theta = _zeros("l2o_dm", linear__b=1.0)
  np.testing.assert_allclose(_updates("l2o_dm", theta, scale=0.5), np.full((2, 3), 0.5), rtol=1e-6)
  theta = _zeros("rnnprop", linear__b=1.0)
  np.testing.assert_allclose(_updates("rnnprop", theta, scale=0.1), np.full((2, 3), 0.0761594), rtol=1e-6)


@pytest.mark.parametrize(
  "gates, c, expected_c, expected_h",
  [
    ({}, 0.0, 0.0, 0.0),
    ({"j": 1.0}, 0.0, 0.3807971, 0.1816999),
    ({"i": 1.0, "j": 1.0}, 0.0, 0.5567699, 0.2527884),
    ({"j": 1.0, "o": 1.0}, 0.0, 0.3807971, 0.2656662),
    ({}, 1.0, 0.7310586, 0.3118562),  # the forget gate's 1 is in the cell
    ({"f": 1.0}, 1.0, 0.8807971, 0.3534092),
  ],
)
def test_one_step_of_the_lstm_by_hand(gates, c, expected_c, expected_h):
  n = 2
  biases = np.concatenate([np.full(n, gates.get(name, 0.0)) for name in "ijfo"])
  theta = {"w_gates": jnp.zeros((1 + n, 4 * n)), "b_gates": jnp.asarray(biases, jnp.float32)}
  h, new_c = lstm(theta, jnp.ones((1, 3)), jnp.zeros((n, 3)), jnp.full((n, 3), c))
  np.testing.assert_allclose(new_c, np.full((n, 3), expected_c), atol=1e-6)
  np.testing.assert_allclose(h, np.full((n, 3), expected_h), atol=1e-6)


def test_one_step_of_the_gru_by_hand():
  """Reset, update, candidate: h' = u h + (1 - u) tanh(w x + v r h + b)."""
  w = jnp.array([[0.0, 0.0, 0.5], [0.0, 0.0, 2.0]])  # rows x, h
  b, injected = jnp.array([0.3, 0.0, 0.1]), jnp.array([[-0.3], [1.0], [0.2]])
  found = gru({"w": w, "b": b}, jnp.full((1, 2), 1.0), jnp.full((1, 2), 0.4), injected)
  u = 1 / (1 + math.exp(-1.0))
  expected = u * 0.4 + (1 - u) * math.tanh(0.5 + 2.0 * 0.5 * 0.4 + 0.3)
  np.testing.assert_allclose(found, np.full((1, 2), expected), rtol=1e-6)


def _constant(g, steps=6):
  return [{"x": jnp.asarray(g, jnp.float32)}] * steps


def test_rnnprop_sees_only_signs_of_a_constant_gradient():
  """m and g over sqrt(v) are both the sign, at the first step and later, whatever the decays."""
  theta, g = theta_of("rnnprop"), np.array([0.3, -2.0, 5e-4])
  found = _updates("rnnprop", theta, _constant(g))
  expected = np.zeros_like(found)
  h = c = h2 = c2 = jnp.zeros((20, 3))
  for t in range(len(found)):
    x = jnp.stack([jnp.sign(g), jnp.sign(g)])
    x = jax.nn.elu(theta["input_projection"]["w"].T @ x + theta["input_projection"]["b"][:, None])
    h, c = lstm(theta["lstm_1"], x, h, c)
    h2, c2 = lstm(theta["lstm_2"], h, h2, c2)
    expected[t] = 0.01 * np.tanh(theta["linear"]["w"][:, 0] @ h2 + theta["linear"]["b"])
  # Of 5e-4, eps = 1e-8 takes 2e-5.
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
  others = _updates("rnnprop", theta, _constant(g), beta1=0.3, beta2=0.999)
  np.testing.assert_allclose(others, expected, rtol=1e-3, atol=1e-6)


def test_rnnprop_moves_no_coordinate_farther_than_its_scale():
  theta = jax.tree.map(lambda x: 100 * x, theta_of("rnnprop"))
  found = _updates("rnnprop", theta, [{"x": g} for g in gradients_like(jnp.zeros(50), 5, spread=4.0)])
  assert 0.0099 < np.abs(found).max() <= 0.01 * (1 + 1e-6)


def test_the_first_step_of_l2o_scale_has_the_size_of_its_rates():
  """update = -exp(rate + bias) d, and d has root mean square 1."""
  kappa = 0.7
  theta = {**theta_of("l2o_scale"), "step_bias": jnp.float32(kappa)}
  theta["log_rate"] = jax.tree.map(jnp.zeros_like, theta["log_rate"])
  tx, g = KINDS["l2o_scale"].build(theta), gradients_like(jnp.zeros((7, 9)), 1)
  (update,), _ = play(tx, g, jnp.zeros((7, 9)))
  direction = update / jnp.exp(tx.init(jnp.zeros((7, 9))).log_rate + kappa)
  np.testing.assert_allclose(jnp.mean(direction**2), 1.0, rtol=1e-5)


def test_l2o_scale_with_the_shortcut_alone_steps_against_the_gradient():
  """All averages are then of the sign of a constant gradient; equal rates make equal steps."""
  theta = _zeros("l2o_scale", shortcut=[0.25] * 4, step_bias=-1.0)
  g = _constant([0.3, -2.0, 5.0], steps=3)
  tx = KINDS["l2o_scale"].build(theta)
  start = tx.init({"x": jnp.zeros(3)})
  start = start._replace(log_rate={"x": jnp.full(3, math.log(0.01))})
  found, end = play(tx, g, {"x": jnp.zeros(3)}, start)
  assert (np.sign(found[0]["x"]) == [-1, 1, -1]).all()
  # At the first step a_i^2 / q_i = 1 in all: asinh(+-1) each, so the step is exp(-1) 0.01.
  np.testing.assert_allclose(np.abs(found[0]["x"]), np.full(3, 0.01 / math.e), rtol=1e-5)
  np.testing.assert_allclose(end.log_rate["x"], np.full(3, math.log(0.01)), rtol=1e-6)


def test_the_rate_of_l2o_scale_is_clipped_but_keeps_its_meta_gradient():
  params, g = {"x": jnp.zeros(1)}, _constant([1.0], steps=1)[0]

  def size(b):
    theta = {**theta_of("l2o_scale"), "step_bias": jnp.float32(-33.0)}
    theta["log_rate"] = {"w": jnp.zeros((10, 1)), "b": b}
    tx = KINDS["l2o_scale"].build(theta)
    return jnp.abs(tx.update(g, tx.init(params), params)[0]["x"][0])

  value, slope = jax.value_and_grad(size)(jnp.full(1, 100.0))
  # exp(33 - 33) times a direction of size 1; d/db exp(rate) = exp(rate).
  np.testing.assert_allclose([value, slope[0]], [1.0, 1.0], rtol=1e-4)


def test_l2o_scale_begins_its_squares_at_the_first_gradient():
  """q is a^2 after the first step, not (1 - s) a^2: the first decay has nothing to average with."""
  theta = theta_of("l2o_scale")
  _, state = play(KINDS["l2o_scale"].build(theta), GRADIENTS[:1], X)
  np.testing.assert_allclose(state.squares["x"], state.averages["x"] ** 2 + 1e-12, rtol=1e-5)
  b = jax.nn.sigmoid(theta["input_decay"]["b"][0])
  for i in range(4):
    expected = (1 - b ** (0.5**i)) * GRADIENTS[0]["x"]
    np.testing.assert_allclose(state.averages["x"][i], expected, rtol=1e-4)
