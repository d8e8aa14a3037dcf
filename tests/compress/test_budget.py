"""Searches that meet a budget, and the floor that is named where it cannot be met."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.compress.budget import floor_counts, search_budget, search_threshold, steer_rho
from vita_jax.compress.channels import counts_of, keep_channels
from vita_jax.compress.counts import count_macs
from vita_jax.compress.gates import ista


def test_bisection_finds_the_smallest_value_within_the_budget():
  found = search_budget(lambda rho: 1 / rho, 8.0, low=1e-4, high=10, logarithmic=True, steps=40)
  assert found.value == pytest.approx(1 / 8) and found.cost <= 8.0
  assert found.tried[0] == (10, 0.1) and all(
    cost <= 8.0 or value < found.value for value, cost in found.tried
  )
  soon = search_budget(lambda rho: 1 / rho, 8.0, low=1e-4, high=10, logarithmic=True, tolerance=0.1)
  assert 7.2 <= soon.cost <= 8.0 and len(soon.tried) < len(found.tried)


def test_a_step_function_is_met_from_below():
  found = search_budget(lambda x: 10 - math.floor(x), 5.5, low=0, high=9, steps=30)
  assert found.cost == 5 and found.value == pytest.approx(5, abs=1e-6)


def test_what_is_not_a_number_meets_no_budget(resnet):
  _, params, graph = resnet
  nan = float("nan")
  with pytest.raises(ValueError, match="the cost at 1 is NaN"):
    search_budget(lambda x: nan, 2.0, low=0, high=1)
  with pytest.raises(ValueError, match="the cost at 0.5 is NaN"):
    search_budget(lambda x: nan if x < 1 else 1.0, 2.0, low=0, high=1)
  with pytest.raises(ValueError, match="the budget is NaN"):
    search_budget(lambda x: x, nan, low=0, high=1)
  with pytest.raises(ValueError, match="the budget is NaN"):
    search_threshold(params, graph, lambda counts: 1.0, nan)
  with pytest.raises(ValueError, match="the cost of [0-9]+ channels is NaN"):
    search_threshold(params, graph, lambda counts: nan, 1.0)
  with pytest.raises(ValueError, match="round_to is 0"):
    search_threshold(params, graph, lambda counts: 1.0, 2.0, round_to=0)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"low": 1, "high": 1}, "the range is 1 to 1"),
    ({"low": 0, "high": math.inf}, "the range is 0 to inf"),
    ({"low": 0, "high": 1, "tolerance": math.nan}, "tolerance is nan"),
    ({"low": 0, "high": 1, "logarithmic": True}, "above 0 if it is logarithmic"),
    ({"low": 0, "high": 1}, "the budget of 2 is below the floor of 9: give at least that"),
  ],
)
def test_what_cannot_be_met_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    search_budget(lambda x: 10 - x, 2.0, **options)


def test_one_threshold_of_gamma_meets_a_budget_exactly(resnet):
  net, params, graph = resnet

  def cost(counts):
    return count_macs(net.resized(counts).layers, 64, 64)

  full = count_macs(net.layers, 64, 64)
  threshold, kept = search_threshold(params, graph, cost, 0.35 * full)
  assert cost(counts_of(kept)) <= 0.35 * full
  # One gamma more breaks it.
  gammas = np.unique(np.abs(np.concatenate([np.ravel(_leaf(params, g.scale)) for g in graph])))
  before = float(gammas[np.searchsorted(gammas, threshold) - 1])
  assert cost(counts_of(keep_channels(params, graph, threshold=before))) > 0.35 * full
  assert search_threshold(params, graph, cost, full)[0] == 0.0
  rounded = search_threshold(params, graph, cost, 0.5 * full, round_to=2)[1]
  assert all(n % 2 == 0 for n in counts_of(rounded).values())


def test_a_steered_rho_meets_the_budget_whatever_it_starts_from():
  """300 gates that the loss holds at 0..1, of which 35 % are paid for."""
  target, steps = jnp.linspace(0, 1, 300), 400
  tx = ista(optax.cosine_decay_schedule(0.1, steps), 0.0)

  def train(rho):
    def step(carry, t):
      gamma, state, rho = carry
      updates, state = tx.update(gamma - target, state, gamma, rho=rho)
      gamma = optax.apply_updates(gamma, updates)
      share = jnp.mean(gamma != 0)
      planned = jnp.maximum(0.35, 1 - 0.65 * t / (0.6 * steps))
      return (gamma, state, steer_rho(rho, share, planned)), share

    start = jnp.ones(300), tx.init(jnp.ones(300)), rho
    return jax.lax.scan(step, start, jnp.arange(steps))[1]

  shares = jax.jit(jax.vmap(train))(jnp.array([1e-3, 0.1, 3.0]))
  np.testing.assert_allclose(shares[:, -1], 0.35, atol=0.05)


def test_the_floor_of_the_stream_is_named(resnet):
  net, params, graph = resnet
  graph = tuple(group for group in graph if group.name != "down_1")
  floor = count_macs(net.resized(floor_counts(params, graph)).layers, 64, 64)
  with pytest.raises(ValueError, match=f"below the floor of {floor}: give at least that"):
    search_threshold(params, graph, lambda c: count_macs(net.resized(c).layers, 64, 64), floor - 1)
  assert floor_counts(params, graph, round_to=8)["stem"] == 4
  ungated = tuple(group._replace(scale=None, shift=None) for group in graph)
  assert floor_counts(params, ungated)["block_0_a"] == 16


def _leaf(params, path):
  for key in path.split("/"):
    params = params[key]
  return params
