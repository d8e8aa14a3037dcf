"""Losses, the learning rate, a step: closed forms and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.losses import cross_entropy, weighted_mean
from vita_jax.papers.bert_tickets import losses
from vita_jax.papers.bert_tickets.steps import decayed, make_step, optimizer
from vita_jax.papers.bert_tickets.tasks import metrics_of


def test_padded_rows_count_nothing():
  logits = jnp.array([[2.0, 0.0], [0.0, 1.0], [5.0, -5.0]])
  labels, weights = jnp.array([0, 0, 1]), jnp.array([1.0, 1.0, 0.0])
  expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0))])
  assert cross_entropy(logits, labels, weights) == pytest.approx(expected, rel=1e-6)
  assert weighted_mean(jnp.ones(2), jnp.zeros(2)) == 0
  assert losses.squared_error(logits[:, :1], jnp.array([1.0, 2.0, 9.0]), weights) == pytest.approx(2.5)


def test_spans_beyond_the_text_are_left_out():
  logits = jax.random.normal(jax.random.key(0), (2, 5, 2))
  starts, ends = (-jax.nn.log_softmax(logits[..., i], axis=1) for i in range(2))
  found = losses.span_loss(logits, jnp.array([1, 4]), jnp.array([2, 5]), jnp.ones(2))
  expected = 0.5 * ((starts[0, 1] + starts[1, 4]) / 2 + ends[0, 2])
  assert found == pytest.approx(float(expected), rel=1e-6)


def test_each_task_has_the_papers_metrics():
  assert list(metrics_of("cola", regression=False)) == ["matthews", "accuracy"]
  assert list(metrics_of("qqp", regression=False)) == ["accuracy", "f1"]
  assert list(metrics_of("custom", regression=True)) == ["pearson", "spearman"]
  assert list(metrics_of("custom", regression=False)) == ["accuracy"]


def test_the_rate_falls_to_zero_over_a_training():
  found = [float(decayed(2e-5, jnp.int32(t), steps=100)) for t in (0, 50, 99, 100)]
  np.testing.assert_allclose(found, [2e-5, 1e-5, 2e-7, 0], atol=1e-12)


def test_a_step_is_masked_clipped_adam_with_that_rate():
  def loss(params, batch, key):
    value = jnp.sum(jnp.square(params["kernel"] - batch["x"]))
    return value, {"loss": (value, jnp.float32(1))}

  mask = jnp.array([[True, False, True, True]])
  tx = optimizer(clip_norm=1.0)
  params = {"kernel": jnp.array([[1.0, 0.0, -2.0, 0.5]])}
  step = jax.jit(make_step(loss, tx, learning_rate=0.1, decay_steps=20, offset=3))
  state = {
    "params": params,
    "tx": tx.init(params),
    "key": jax.random.key(0),
    "training": jnp.int32(1),
    "masks": {"kernel": jnp.packbits(mask, axis=-1, bitorder="little")},
  }
  reference = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(lambda count: 0.1 * (1 - (count + 3) / 20), eps=1e-8)
  )
  expected, opt = params, reference.init(params)
  batch = {"x": jnp.array([[3.0, 4.0, 5.0, 6.0]])}
  for t in range(10):
    state, values = step(state, batch, jnp.int32(t))
    grads = jax.grad(lambda p: loss(p, batch, None)[0])(expected)
    updates, opt = reference.update({"kernel": jnp.where(mask, grads["kernel"], 0.0)}, opt)
    expected = optax.apply_updates(expected, updates)
  np.testing.assert_allclose(state["params"]["kernel"], expected["kernel"], atol=1e-6)
  assert state["params"]["kernel"][0, 1] == 0.0
