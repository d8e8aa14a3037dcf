"""The problems of other kinds: each has a gradient everywhere, fresh batches, and can be learned."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.optim import optimizee, unseen

SHIPPED = ("citeseer_gcn", "credit_mlp")
# Loss of a fresh network: ln of the classes, the risk of a coin, the noise's variance.
START = {
  "citeseer_gcn": np.log(6),
  "credit_mlp": np.log(2),
  "bert_tiny": np.log(2),
  "nnpu_mlp": 0.5,
  "denoising_unet": 0.01,
}


@pytest.mark.parametrize(
  "name", [*SHIPPED, *(pytest.param(n, marks=pytest.mark.slow) for n in START.keys() - set(SHIPPED))]
)
def test_a_problem_has_a_gradient_everywhere_and_can_be_learned(name):
  if name not in SHIPPED and not os.environ.get("VITA_DATA_DIR"):
    pytest.skip("set VITA_DATA_DIR: its data does not ship")
  problem = optimizee(f"vita_jax.optim.unseen:{name}")
  assert optimizee(f"vita_jax.optim.unseen:{name}") is problem  # data is read once
  x = problem.init(jax.random.key(0))

  @jax.jit
  def step(x, key):
    loss, gradient = jax.value_and_grad(lambda x: problem.loss(x, problem.sample({}, key, 32)))(x)
    return loss, gradient, jax.tree.map(lambda p, g: p - 0.003 * jnp.sign(g), x, gradient)

  first, gradient, _ = step(x, jax.random.key(1))
  assert first.dtype == jnp.float32 and 0.5 * START[name] < first < 2.0 * START[name]
  assert all(bool((g != 0).any()) for g in jax.tree.leaves(gradient))
  assert step(x, jax.random.key(2))[0] != first  # another batch, or other dropout
  for i in range(10):
    loss, _, x = step(x, jax.random.key(i))
  assert float(step(x, jax.random.key(1))[0]) < float(first)


def test_half_of_a_pu_batch_is_labelled(monkeypatch):
  monkeypatch.setattr(unseen, "load_images", _images)
  problem = unseen.nnpu_mlp.__wrapped__()
  params = problem.init(jax.random.key(0))
  batch = problem.sample({}, jax.random.key(0), 64)
  loss, gradient = jax.value_and_grad(problem.loss)(params, batch)
  assert float(loss) >= 0.0 and bool((gradient["linear_5"]["w"] != 0).any())
  assert batch[0].shape == (64, 784) and int(batch[1].sum()) == 32


def _images(name):
  rng = np.random.default_rng(0)

  class Made:
    train = {
      "image": rng.integers(0, 256, (3000, 28, 28, 1)).astype(np.uint8),
      "label": np.arange(3000, dtype=np.int32) % 10,
    }

  return Made
