"""Proximal steps: closed forms, exact zeros, and the rate of the step itself."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.compress.channels import ChannelGroup
from vita_jax.compress.counts import live_macs
from vita_jax.compress.gates import (
  gate_labels,
  ista,
  proximal_l1,
  pruned_share,
  soft_threshold,
  spare_last,
  zero_shifts,
)


def test_the_soft_threshold_and_one_step_of_the_oracle():
  x = jnp.array([-0.3, -0.05, 0.0, 0.05, 0.3])
  np.testing.assert_allclose(soft_threshold(x, 0.1), [-0.2, 0, 0, 0, 0.2], atol=1e-7)
  tx, gamma = ista(0.1, rho=2.0), jnp.array([0.5])
  updates, _ = tx.update(jnp.array([1.0]), tx.init(gamma), gamma)
  np.testing.assert_allclose(optax.apply_updates(gamma, updates), [0.2], atol=1e-7)


def _steps(tx, gradient, gamma, n, state=None):
  """`n` steps inside one program."""

  def step(carry, _):
    gamma, state = carry
    updates, state = tx.update(gradient(gamma), state, gamma)
    gamma = optax.apply_updates(gamma, updates)
    return (gamma, state), gamma

  return jax.jit(lambda carry: jax.lax.scan(step, carry, None, n))((gamma, state or tx.init(gamma)))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_it_converges_to_the_soft_threshold_of_a_quadratic(momentum):
  """Momentum multiplies the gradient by 1 / (1 - momentum) in the end, and not the threshold."""
  b, rho = jnp.array([1.0, 0.3, -2.0]), 0.5 / (1 - momentum)
  (gamma, _), _ = _steps(ista(0.1, rho, momentum), lambda g: g - b, jnp.ones(3), 200)
  np.testing.assert_allclose(gamma, [0.5, 0.0, -1.5], atol=1e-5)
  assert gamma[1] == 0


def test_momentum_is_torchs_and_the_threshold_has_the_rate_of_the_step():
  rates = 0.1 * (1 + np.cos(np.pi * np.arange(6) / 6)) / 2
  (_, _), path = _steps(
    ista(lambda t: jnp.asarray(rates)[t], 0.3, 0.5), lambda g: jnp.cos(9 * g), jnp.array(0.7), 6
  )
  gamma, v = np.float32(0.7), 0.0
  for rate, found in zip(rates, path, strict=True):
    v = 0.5 * v + np.cos(9 * gamma)
    half = gamma - rate * v
    gamma = np.sign(half) * max(abs(half) - 0.3 * rate, 0)
    assert found == pytest.approx(gamma, abs=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_zeros_are_exact_under_jit_in_a_multi_transform_and_may_come_back(dtype):
  rng = np.random.default_rng(0)
  params = {"n": {"scale": jnp.asarray(rng.normal(size=500) * 0.1, dtype)}, "w": jnp.ones((3,), dtype)}
  labels = {"n": {"scale": "gate"}, "w": "weight"}
  tx = optax.multi_transform({"gate": ista(0.1, rho=1.0), "weight": optax.adam(1e-3)}, labels)

  @jax.jit
  def step(params, state, grads, rho):
    updates, state = tx.update(grads, state, params, rho=rho)
    return optax.apply_updates(params, updates), state

  grads = jax.tree.map(lambda x: jnp.full(x.shape, 1e-3, dtype), params)
  small, state = step(params, tx.init(params), grads, 1.0)
  within = np.abs(np.asarray(params["n"]["scale"], np.float32) - 1e-4) < 0.0999
  zero = np.asarray(small["n"]["scale"]) == 0
  assert within.any() and zero[within].all() and not zero[~within].all()
  assert (
    small["n"]["scale"].dtype == dtype
    and not np.signbit(np.asarray(small["n"]["scale"], np.float32))[zero].any()
  )
  # |gradient| > rho brings a zero back; rho is an argument of the update here.
  back, _ = step(small, state, jax.tree.map(lambda x: jnp.full(x.shape, 3.0, dtype), params), 2.0)
  np.testing.assert_allclose(np.asarray(back["n"]["scale"], np.float32)[zero], -0.1, atol=2e-3)


def test_a_gradient_that_is_not_a_number_prunes_nothing():
  tx, gamma = ista(0.1, rho=1.0), jnp.array([0.5, 0.5])
  updates, _ = tx.update(jnp.array([jnp.nan, 0.0]), tx.init(gamma), gamma)
  np.testing.assert_allclose(optax.apply_updates(gamma, updates), [np.nan, 0.4], atol=1e-6)


def test_the_transformation_needs_parameters():
  tx = proximal_l1(1.0, 0.1)
  with pytest.raises(ValueError, match="proximal_l1 needs the parameters"):
    tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_labels_shares_and_shifts_follow_the_graph(resnet, pruned):
  _, params, graph = resnet
  labels = gate_labels(params, graph)
  assert labels["stem"] == {"kernel": "weight", "bias": "weight", "scale": "gate", "shift": "weight"}
  assert labels["stream_scale"] == "gate" and labels["down_1"] == {"kernel": "weight", "bias": "weight"}
  params = pruned(params, graph)
  gammas = np.concatenate([np.ravel(_leaf(params, group.scale)) for group in graph])
  assert pruned_share(params, graph) == pytest.approx((gammas == 0).mean())
  zeroed = jax.jit(zero_shifts, static_argnums=1)(params, graph)
  for group in graph:
    if group.shift is not None:
      gone = _leaf(params, group.scale) == 0
      shift, before = _leaf(zeroed, group.shift), _leaf(params, group.shift)
      np.testing.assert_array_equal(shift, np.where(gone, 0, before))
  np.testing.assert_array_equal(zeroed["stem"]["kernel"], params["stem"]["kernel"])
  with pytest.raises(ValueError, match="'stem/scale' is not in the parameters"):
    gate_labels({"a": jnp.ones(2)}, graph[:1])
  with pytest.raises(ValueError, match="no group of the graph has a scale"):
    pruned_share(params, (graph[0]._replace(scale=None),))


def test_a_group_that_must_not_be_empty_keeps_its_largest_gate(resnet):
  _, params, graph = resnet
  before = {**params, "stem": {**params["stem"], "scale": jnp.array([0.1, -0.4, 0.2, 0.4])}}
  after = jax.tree.map(jnp.zeros_like, before)
  after["up_0"]["scale"] = jnp.zeros_like(before["up_0"]["scale"]).at[1].set(0.3)
  found = jax.jit(spare_last, static_argnums=2)(after, before, graph)
  np.testing.assert_array_equal(found["stem"]["scale"], jnp.array([0, -0.4, 0, 0]))  # of equal ones the first
  np.testing.assert_array_equal(found["up_0"]["scale"], after["up_0"]["scale"])  # one is alive: as it is
  assert not found["block_0_a"]["scale"].any()  # a residual connection leads around it
  assert not found["stem"]["kernel"].any()


def test_a_large_rho_prunes_scales_that_start_equal():
  graph, params = (ChannelGroup("stem", "scale", None, ()),), {"scale": jnp.ones(4)}
  tx = ista(0.1, rho=20.0)
  for _ in range(2):
    updates, _ = tx.update({"scale": jnp.zeros(4)}, tx.init(params), params)
    params = spare_last(optax.apply_updates(params, updates), params, graph)
    assert params["scale"].tolist() == [1, 0, 0, 0]


def test_graphs_of_other_parameters_are_refused_in_one_line():
  params, group = {"scale": jnp.ones(4)}, ChannelGroup("stem", "scale", "lost", ())
  for call in (
    lambda: zero_shifts(params, (group,)),
    lambda: spare_last(params, params, (group._replace(scale="lost"),)),
    lambda: pruned_share(params, (group._replace(scale="lost"),)),
    lambda: live_macs(params, (group._replace(scale="lost"),), (), 8, 8),
  ):
    with pytest.raises(
      ValueError, match="the graph's 'stem' has the array 'lost', which is not in the param"
    ):
      call()


def _leaf(params, path):
  for key in path.split("/"):
    params = params[key]
  return np.asarray(params)


def test_the_shrinkage_of_a_cosine_schedule_adds_up():
  """Without a gradient, a gate of 1 is gone after exactly the steps whose thresholds sum to 1."""
  n, rho = 60, 0.8
  rates = 0.1 * (1 + np.cos(np.pi * np.arange(n) / n)) / 2
  tx = ista(optax.cosine_decay_schedule(0.1, n), rho)
  (_, _), path = _steps(tx, jnp.zeros_like, jnp.ones(()), n)
  left = 1 - rho * np.cumsum(rates)
  np.testing.assert_allclose(path, np.maximum(left, 0), atol=1e-5)
  assert int(np.argmax(np.asarray(path) == 0)) == int(np.argmax(left < 0))
