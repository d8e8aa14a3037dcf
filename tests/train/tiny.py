"""An experiment small enough to follow by hand: one weight that is pulled to the mean of the rows."""

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics, train
from vita_jax.data import Resident, Stream

ROWS = np.linspace(-1, 2, 10).astype(np.float32)
DECAY = 0.1


def get_config(**overrides):
  config = train.base_config()
  config.update({"paper": "tiny", "log_every": 4, **overrides})
  return config


def data(kind, batch_size=4):
  """The rows as Resident or Stream."""
  if kind == "resident":
    return Resident({"x": ROWS}, batch_size)
  return Stream([{"x": x} for x in ROWS], batch_size)


def experiment(rows=None, *, steps=12, poison=None, done=train.never):
  """Gradient descent on mean (w - x)^2 / 2; from step `poison` on the loss of odd seeds is NaN."""

  def init(key):
    seed = jax.random.key_data(key)[-1]
    return {"params": {"w": seed.astype(jnp.float32)}, "seed": seed}

  def step(state, batch, t):
    w = state["params"]["w"]
    mask = batch.get("mask", jnp.ones_like(batch["x"]))
    total, weight = metrics.mean((w - batch["x"]) ** 2 / 2, mask)
    if poison is not None:
      total = jnp.where((t >= poison) & (state["seed"] % 2 == 1), jnp.nan, total)
    gradient = jnp.sum(mask * (w - batch["x"])) / weight
    return {**state, "params": {"w": w - DECAY * gradient}}, {"loss": (total, weight)}

  rows = data("resident") if rows is None else rows
  return train.Experiment(
    init=init,
    stages=(train.Stage("fit", steps, step, rows, done=done),),
    params=lambda state: state["params"],
    evals={
      "all": train.Eval(
        Resident({"x": ROWS}, 3),
        lambda state, batch: {"error": metrics.mean(state["params"]["w"] - batch["x"], batch["mask"])},
        every=6,
      )
    },
  )
