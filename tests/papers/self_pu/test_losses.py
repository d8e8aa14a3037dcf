"""What students learn from each other and from their averages."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.papers.self_pu import losses

A, B = jnp.array([2.0, -1.0, 0.0]), jnp.array([1.0, -3.0, 0.0])
DISTANCE = np.square(np.asarray(jax.nn.sigmoid(A) - jax.nn.sigmoid(B)))


def test_consistency_is_there_and_as_released_is_not():
  loss = partial(losses.consistency_loss, teacher=B)
  np.testing.assert_allclose(loss(A), DISTANCE.mean(), rtol=1e-6)
  assert (jnp.abs(jax.grad(loss)(A))[:2] > 1e-3).all()
  np.testing.assert_allclose(loss(A, mask=jnp.array([1.0, 0.0, 0.0])), DISTANCE[0], rtol=1e-6)
  # A softmax over one logit is 1 whatever the logit.
  assert loss(A, softmax=True) == 0 and not jax.grad(lambda a: loss(a, softmax=True))(A).any()
  assert not jax.grad(lambda b: losses.consistency_loss(A, b))(B).any()  # the teacher is constant


def test_mining_per_sample_takes_the_hard_rows():
  labelled = jnp.array([False, False, True])
  options = {"labelled": labelled, "prior": 0.4, "nnpu": jnp.float32(0.0)}
  mutual = partial(losses.mutual_loss, A, B, **options)
  np.testing.assert_allclose(mutual(alpha=0.1), DISTANCE.sum() / 3, rtol=1e-6)
  # Row 0: σ(2) = 0.88 > α d; row 1: σ(-1) = 0.27 against α 0.0491.
  ratio = np.asarray(jax.nn.sigmoid(A)) / np.maximum(DISTANCE, 1e-9)
  between = float(np.mean(np.sort(ratio[:2])))
  kept = DISTANCE[:2][ratio[:2] > between].sum() / 3
  np.testing.assert_allclose(mutual(alpha=between), kept, rtol=1e-6)
  assert mutual(alpha=1e6) == 0
  assert not jax.grad(lambda b: losses.mutual_loss(A, b, **options))(B).any()


def test_mining_per_batch_compares_with_the_risk():
  options = {"labelled": jnp.zeros(3), "prior": 0.4, "mining": "batch", "alpha": 0.1}
  mean = DISTANCE.mean()
  assert losses.mutual_loss(A, B, nnpu=jnp.float32(9.0 * mean), **options) == 0
  np.testing.assert_allclose(
    losses.mutual_loss(A, B, nnpu=jnp.float32(11.0 * mean), **options), mean, rtol=1e-6
  )
