"""An observation at one step is no sum: adding keeps the later one, and no mean is taken."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics


def _step(t):
  """A loss at every step; a validation accuracy of nine nodes at steps 1 and 4 alone."""
  accuracy = jnp.where(t == 4, 5, 3) / 9
  observed = metrics.last(accuracy, at=t, when=(t == 1) | (t == 4))
  return {"loss": metrics.once(1.0 * t), "validation_accuracy": observed}


def test_the_later_observation_stays_and_losses_are_averaged():
  found = _step(jnp.int32(0))
  for t in range(1, 6):
    found = metrics.add(found, _step(jnp.int32(t)))
  assert int(found["validation_accuracy"].at) == 4
  values = metrics.divide(found)
  assert values["loss"] == 2.5
  np.testing.assert_allclose(values["validation_accuracy"], 5 / 9, rtol=1e-6)


def test_no_observation_is_none_and_is_never_looked_at():
  pair = metrics.last(jnp.nan, at=3, when=False)
  assert metrics.divide({"a": pair}) == {"a": None} and metrics.finite({"a": pair})
  assert not metrics.finite({"a": metrics.last(jnp.nan, at=3)})


def test_replicas_keep_their_own():
  def observed(seed, t):
    return {"v": metrics.last(10.0 * seed + t, at=t, when=t <= seed)}

  both = [jax.vmap(observed, in_axes=(0, None))(jnp.arange(2), t) for t in (0, 1)]
  found = metrics.add(*both)
  assert found["v"].at.tolist() == [0, 1] and metrics.divide(found) == {"v": [0.0, 11.0]}
