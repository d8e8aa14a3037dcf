"""Worker: fine-tune steps of a BERT classifier in vita_jax. Arguments: MODEL SPARSITY STEPS_IN_A_LOOP."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bert_tickets.compare import BATCH, LENGTH, MODELS
from benchmarks.measure import serve
from vita_jax import compress
from vita_jax.losses.xent import cross_entropy
from vita_jax.nn.bert import PRUNABLE, BertClassifier, BertConfig
from vita_jax.papers.bert_tickets.steps import make_step, optimizer


def prepare(model: str, sparsity: float, *, batch: int = BATCH, length: int = LENGTH):
  """Returns `step`, its first state, and a batch of random ids, for a BERT of the given name."""
  layers, hidden, heads, feed_forward, vocabulary = MODELS[model]
  sizes = BertConfig(vocabulary, hidden, layers, heads, feed_forward)
  net, tx, rng = BertClassifier(sizes, 2), optimizer(clip_norm=1.0), np.random.default_rng(0)
  rows = {
    "ids": jnp.asarray(rng.integers(1, vocabulary, (batch, length)), jnp.int32),
    "label": jnp.asarray(rng.integers(0, 2, batch), jnp.int32),
  }

  def loss(params, batch, key):
    logits = net.apply({"params": params}, batch["ids"], None, None, key)
    value = cross_entropy(logits, batch["label"], jnp.ones(len(batch["label"])))
    return value, {"loss": (value, jnp.ones(()))}

  params = jax.jit(net.init)(jax.random.key(0), rows["ids"][:1])["params"]
  masks = compress.magnitude_masks(params, sparsity, select=PRUNABLE) if sparsity else {}
  params = compress.apply_masks(params, masks)
  state = {
    "params": params,
    "tx": tx.init(params),
    "key": jax.random.key(1),
    "training": jnp.int32(0),
    "masks": compress.pack(masks),
  }
  return make_step(loss, tx, learning_rate=2e-5, decay_steps=1_000_000), state, rows


def main(model: str, sparsity: float, in_loop: int) -> None:
  step, state, batch = prepare(model, sparsity)

  def several(state, batch, t):
    if in_loop == 1:
      return step(state, batch, t)[0]
    return jax.lax.fori_loop(t, t + in_loop, lambda t, state: step(state, batch, t)[0], state)

  run, t = jax.jit(several, donate_argnums=0), 0

  def advance(n: int) -> None:
    nonlocal state, t
    for _ in range(-(-n // in_loop)):
      state, t = run(state, batch, jnp.int32(t)), t + in_loop
    jax.block_until_ready(state)

  advance(in_loop)
  serve(advance)


if __name__ == "__main__":
  main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
