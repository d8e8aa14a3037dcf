"""When training ends and which weights are tested: the two protocols of the released code.

Both live in the state, so that replicas stop independently and a resumed run stops at the same epoch.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.train.experiment import State, keep_best

PROTOCOLS = ("early_stop", "best_validation")
WINDOW = 10  # validation losses that the current one is compared with


def start(protocol: str, params: Any) -> State:
  """Returns the fields of the state that a protocol needs, as they are before the first epoch.

  `stopped` bool, `epochs` int32 (updates done), and `window` float32 [10] (the last validation losses)
  or `best` float32 and `kept` (a copy of the weights).

  Raises:
    ValueError: unknown protocol.
  """
  choose("config.protocol", protocol, PROTOCOLS)
  common = {"stopped": jnp.asarray(False), "epochs": jnp.asarray(0, jnp.int32)}
  if protocol == "early_stop":
    return {**common, "window": jnp.zeros((WINDOW,), jnp.float32)}
  return {**common, "best": jnp.asarray(-jnp.inf, jnp.float32), "kept": params}


def judge(state: State, t: jax.Array, *, loss: jax.Array, accuracy: jax.Array, ties: str = "first") -> State:
  """Judges the weights that `t` epochs of training left behind, at the start of step `t`.

  early_stop: with e = t - 1 the index of the last epoch, stop when e > 10 and the validation loss
  exceeds the mean of those of the 10 epochs before; the last weights are the result.
  best_validation: never stop; keep the weights of the highest validation accuracy.

  Args:
    state: with the fields of `start` and `params`.
    t: int32 scalar, epochs trained so far.
    loss: float32 scalar, of the validation nodes without dropout.
    accuracy: float32 scalar, of the same.
    ties: which of equally good epochs is kept, "first" or "last".
  """
  trained = t > 0
  if "window" not in state:
    value = jnp.where(trained, accuracy, -jnp.inf)
    if choose("ties", ties, ("first", "last")) == "last":
      state = {**state, "best": jnp.where(value == state["best"], -jnp.inf, state["best"])}
    return keep_best(state, value, state["params"])
  epoch = t - 1
  stop = (epoch > WINDOW) & (loss > jnp.mean(state["window"]))
  window = jnp.where(trained, state["window"].at[epoch % WINDOW].set(loss), state["window"])
  return {**state, "stopped": state["stopped"] | stop, "window": window}
