"""The smallest whole experiment: an MLP on scikit-learn's digits. It is the example of the README, too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

from vita_jax import metrics, train
from vita_jax.data import Resident, Stream


def get_config():
  config = train.base_config()
  config.paper, config.dtype, config.log_every = "digits", "float32", 20
  config.kind, config.steps, config.batch_size, config.hidden = "resident", 60, 128, 32
  return config


def _shifted(row, rng):
  """The image moved by up to one pixel each way: what a random crop does."""
  image = np.roll(row["image"].reshape(8, 8), rng.integers(-1, 2, size=2), axis=(0, 1))
  return {**row, "image": image.reshape(64)}


def build(config) -> train.Experiment:
  images, labels = load_digits(return_X_y=True)
  rows = {"image": (images / 16).astype(np.float32), "label": labels.astype(np.int32)}
  train_rows, test_rows = ({k: v[half::2] for k, v in rows.items()} for half in (0, 1))
  model = nn.Sequential(
    [nn.Dense(config.hidden, dtype=config.dtype), nn.relu, nn.Dense(10, dtype=config.dtype)]
  )
  tx = optax.adam(1e-3)

  def init(key):
    params = model.init(key, train_rows["image"][:1])["params"]
    return {"params": params, "tx": tx.init(params), "key": key}

  def loss(params, batch):
    logits = model.apply({"params": params}, batch["image"]).astype(jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    total, weight = metrics.mean(losses, batch.get("mask"))
    right = metrics.accuracy(logits, batch["label"], batch.get("mask"))
    return total / weight, {"loss": (total, weight), "accuracy": right}

  def step(state, batch, t):
    grads, values = jax.grad(loss, has_aux=True)(state["params"], batch)
    updates, opt = tx.update(grads, state["tx"], state["params"])
    return {**state, "params": optax.apply_updates(state["params"], updates), "tx": opt}, values

  if config.kind == "resident":
    data = Resident(train_rows, config.batch_size)
  else:
    source = [{k: v[i] for k, v in train_rows.items()} for i in range(len(train_rows["label"]))]
    data = Stream(source, config.batch_size, transform=_shifted)
  test = train.Eval(Resident(test_rows, 100), lambda state, batch: loss(state["params"], batch)[1], every=40)
  return train.Experiment(
    init=init,
    stages=(train.Stage("train", config.steps, step, data),),
    params=lambda state: state["params"],
    evals={"test": test},
  )
