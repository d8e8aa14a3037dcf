"""The losses by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.papers.ss_gcn import losses


def test_completion_at_zero_is_a_hundred_times_the_mean_size_of_the_targets():
  targets = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
  found = losses.completion(jnp.zeros((7, 3)), targets, jnp.ones(7))
  assert float(found) == pytest.approx(100 * np.abs(targets).mean(), rel=1e-6)


def test_how_a_task_is_weighed():
  assert losses.multitask("partition", 2.0, 10.0, 0.8) == pytest.approx(0.8 * 2 + 0.2 * 10)
  assert losses.multitask("cluster", 2.0, 10.0, 1.0) == 2.0
  assert losses.multitask("completion", 2.0, 10.0, 0.7) == pytest.approx(2 + 0.7 * 10)
