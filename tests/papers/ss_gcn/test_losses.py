"""The losses by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.papers.ss_gcn import losses


def test_completion_at_zero_is_a_hundred_times_the_mean_size_of_the_targets():
  targets = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
  found = losses.completion(jnp.zeros((7, 3)), targets, jnp.ones(7))
  assert float(found) == pytest.approx(100 * np.abs(targets).mean(), rel=1e-6)
  plain = losses.self_supervised("completion", jnp.zeros((7, 3)), targets, jnp.ones(7), scale=1.0)
  assert float(plain) == pytest.approx(np.abs(targets).mean(), rel=1e-6)


def test_the_binary_loss_of_a_softmax_is_the_formula_and_stays_finite():
  logits = np.random.default_rng(0).normal(size=(5, 3))
  targets = np.abs(np.random.default_rng(1).normal(size=(5, 3)))
  targets /= targets.sum(1, keepdims=True)
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
  assert float(losses.binary_cross_entropy(logits, targets)) == pytest.approx(expected, rel=1e-5)
  sure = jnp.array([[200.0, 0.0, 0.0]])
  wrong = losses.binary_cross_entropy(sure, jnp.array([[0.0, 1.0, 0.0]]))
  assert float(wrong) == pytest.approx((200 - np.log(2) + 200) / 3, rel=1e-5)  # log(1 - p_0) = log 2 - 200


def test_soft_labels_that_are_sure_are_labels():
  logits = jnp.array([[0.0, 0.0, 0.0], [np.log(2), 0.0, 0.0]])
  found = losses.soft_cross_entropy(logits, jnp.array([[1.0, 0, 0], [1, 0, 0]]))
  assert float(found) == pytest.approx(0.895880, abs=1e-6)


def test_how_a_task_is_weighed():
  assert losses.multitask("partition", 2.0, 10.0, 0.8) == pytest.approx(0.8 * 2 + 0.2 * 10)
  assert losses.multitask("cluster", 2.0, 10.0, 1.0) == 2.0
  assert losses.multitask("completion", 2.0, 10.0, 0.7) == pytest.approx(2 + 0.7 * 10)
