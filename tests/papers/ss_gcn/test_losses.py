"""The losses by hand, and the optimizer against torch's formula."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.papers.ss_gcn import losses, optimizer
from vita_jax.papers.ss_gcn.config import default_config


def test_cross_entropy_by_hand():
  logits = jnp.array([[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0], [9.0, 0.0, 0.0]])
  found = losses.cross_entropy(logits, jnp.array([0, 0, -1]), jnp.array([1, 1, 0]))
  assert float(found) == pytest.approx(0.895880, abs=1e-6)


def test_an_empty_mask_gives_zero_not_nan():
  found = losses.cross_entropy(jnp.ones((2, 3)), jnp.array([-1, -1]), jnp.zeros(2))
  assert float(found) == 0.0


def test_completion_at_zero_is_a_hundred_times_the_mean_size_of_the_targets():
  targets = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
  found = losses.completion(jnp.zeros((7, 3)), targets, jnp.ones(7))
  assert float(found) == pytest.approx(100 * np.abs(targets).mean(), rel=1e-6)


def test_how_a_task_is_weighed():
  assert losses.multitask("partition", 2.0, 10.0, 0.8) == pytest.approx(0.8 * 2 + 0.2 * 10)
  assert losses.multitask("cluster", 2.0, 10.0, 1.0) == 2.0
  assert losses.multitask("completion", 2.0, 10.0, 0.7) == pytest.approx(2 + 0.7 * 10)


def test_adam_with_coupled_decay_by_hand():
  """torch.optim.Adam(weight_decay=d): the decay joins the gradient before the moments."""
  config = default_config("citeseer", "none", {})
  rate, decay, weight, m, v = config.learning_rate, config.weight_decay, 2.0, 0.0, 0.0
  params, tx = {"input": jnp.array(weight)}, optimizer(config)
  state = tx.init(params)
  for t, gradient in enumerate((0.3, -1.2, 0.05), start=1):
    updates, state = tx.update({"input": jnp.array(gradient)}, state, params)
    params = optax.apply_updates(params, updates)
    g = gradient + decay * weight
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    weight -= rate * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert float(params["input"]) == pytest.approx(weight, abs=1e-6)


def test_decay_reaches_only_the_named_weights():
  config = default_config("citeseer", "none", {})
  config.weight_decay_on = "^input"
  params = {"input": {"kernel": jnp.ones(2)}, "target": {"kernel": jnp.ones(2)}}
  tx = optimizer(config)
  updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
  assert (updates["input"]["kernel"] < 0).all() and (updates["target"]["kernel"] == 0).all()
