"""Learned optimizers where users of Flax put them: linen's TrainState and nnx.Optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.training import train_state

from optim.table import every_kind, make
from vita_jax.optim import learned, learned_names

X = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
Y = np.sin(X.sum(1, keepdims=True))


def _loss(outputs):
  return jnp.mean((outputs - Y) ** 2)


def _linen(tx, steps):
  model = linen.Dense(1)
  params = model.init(jax.random.key(0), X)["params"]
  state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=tx)

  @jax.jit
  def step(state):
    gradients = jax.grad(lambda params: _loss(state.apply_fn({"params": params}, X)))(state.params)
    return state.apply_gradients(grads=gradients)

  for _ in range(steps):
    state = step(state)
  return state.params["kernel"], state.params["bias"], params


def _nnx(tx, steps, params):
  model = nnx.Linear(5, 1, rngs=nnx.Rngs(0))
  model.kernel[...], model.bias[...] = params["kernel"], params["bias"]
  optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

  @nnx.jit
  def step(model, optimizer):
    gradients = nnx.grad(lambda model: _loss(model(X)))(model)
    optimizer.update(model, gradients)

  for _ in range(steps):
    step(model, optimizer)
  return model.kernel[...], model.bias[...]


@every_kind
def test_linen_and_nnx_go_the_same_way(kind):
  kernel, bias, start = _linen(make(kind), 5)
  assert float(jnp.abs(kernel - start["kernel"]).max()) > 1e-5
  for ours, theirs in zip(_nnx(make(kind), 5, start), (kernel, bias), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("name", learned_names())
def test_shipped_optimizers_lower_a_loss_they_have_never_seen(name):
  kernel, bias, start = _linen(learned(name), 300)
  before, after = _loss(X @ start["kernel"] + start["bias"]), _loss(X @ kernel + bias)
  assert after < 0.8 * before
