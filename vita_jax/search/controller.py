"""A controller that writes an architecture token by token: an LSTM, and a decoder for each kind of token.

As in AutoGAN (ICCV 2019) and ENAS (ICML 2018): the first input is zeros, later ones are the embedding of the
token before. A token that is dead (see `TokenSpace`) is passed over: neither the memory nor the probability
of an architecture knows of it, and it gets exactly no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.nn.policy import entropy
from vita_jax.nn.rnn import LSTMCell, zero_carry
from vita_jax.search.tokens import TokenSpace, masked_logits

Theta = Any
Pick = Callable[[Any, jax.Array], jax.Array]  # (number of a token, its logits [most]) -> its value
GAIN = 0.01  # of the decoders at first: nearly uniform


class Choice(NamedTuple):
  """An architecture, and what the controller thinks of it.

  Attributes:
    tokens: int32 [T], 0 where dead.
    log_prob: float32, the sum over live tokens of ln p.
    entropy: float32, the sum over live tokens of the entropy of their distributions, in nats.
    live: bool [T].
  """

  tokens: jax.Array
  log_prob: jax.Array
  entropy: jax.Array
  live: jax.Array


def init_controller(key: jax.Array, space: TokenSpace, *, hidden: int = 100) -> Theta:
  """Draws a controller.

  Returns:
    `lstm`; `embedding` [kinds * most, hidden]; `kernel` [kinds, hidden, most] and `bias` [kinds, most] of the
    decoders. float32.
  """
  lstm, embedding, kernel = jax.random.split(key, 3)
  zeros = jnp.zeros(hidden)
  return {
    "lstm": LSTMCell(hidden).init(lstm, zero_carry(zeros, hidden), zeros)["params"],
    "embedding": 0.1 * jax.random.normal(embedding, (space.n_kinds * space.most, hidden)),
    "kernel": GAIN * jax.random.normal(kernel, (space.n_kinds, hidden, space.most)),
    "bias": jnp.zeros((space.n_kinds, space.most)),
  }


def sample(key: jax.Array, space: TokenSpace, theta: Theta) -> Choice:
  """Draws an architecture; `theta` None draws every token uniformly from its allowed values.

  Examples:
    >>> import numpy as np
    >>> space = TokenSpace(("a",), (0,), np.array([[True, True, False]]), lambda tokens: jnp.ones(1, bool))
    >>> round(float(sample(jax.random.key(0), space, None).log_prob), 4)  # -ln 2
    -0.6931
  """
  keys = jax.random.split(key, space.length)

  def pick(t: Any, logits: jax.Array) -> jax.Array:
    return jax.random.categorical(keys[t], logits)

  return walk(space, theta, pick)


def greedy(space: TokenSpace, theta: Theta) -> Choice:
  """Takes the likeliest value of each token in turn."""
  return walk(space, theta, lambda _, logits: jnp.argmax(logits))


def evaluate(tokens: jax.Array, space: TokenSpace, theta: Theta) -> Choice:
  """Computes the log-probability and entropy of given tokens [T]: what REINFORCE differentiates."""
  return walk(space, theta, lambda t, _: tokens[t])


def walk(space: TokenSpace, theta: Theta, pick: Pick) -> Choice:
  """Goes through the tokens by one scan, each picked from its masked logits."""
  kinds, allowed = jnp.asarray(space.kinds), jnp.asarray(space.allowed)
  width = 1 if theta is None else theta["embedding"].shape[1]
  start = jnp.zeros(width)

  def step(carry: tuple, t: jax.Array) -> tuple[tuple, tuple]:
    memory, x, tokens = carry
    live, kind = space.live(tokens)[t], kinds[t]
    if theta is None:
      after, logits = memory, jnp.zeros(space.most)
    else:
      after, hidden = LSTMCell(width).apply({"params": theta["lstm"]}, memory, x)
      logits = hidden @ theta["kernel"][kind] + theta["bias"][kind]
    logits = masked_logits(logits, allowed[t])
    token = jnp.where(live, pick(t, logits), 0).astype(jnp.int32)
    seen = x if theta is None else theta["embedding"][kind * space.most + token]
    memory, x = jax.tree.map(lambda new, old: jnp.where(live, new, old), (after, seen), (memory, x))
    terms = live * jax.nn.log_softmax(logits)[token], live * entropy(logits)
    return (memory, x, tokens.at[t].set(token)), (*terms, live)

  first = (zero_carry(start, width), start, jnp.zeros(space.length, jnp.int32))
  (_, _, tokens), (log_prob, spread, live) = jax.lax.scan(step, first, jnp.arange(space.length))
  return Choice(tokens, jnp.sum(log_prob), jnp.sum(spread), live)
