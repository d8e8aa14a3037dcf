"""What every step of meta-training shares: its optimizations one by one, its budget and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.metrics import once
from vita_jax.papers.l2o import tasks as streams
from vita_jax.papers.l2o.recipe import Recipe
from vita_jax.papers.l2o.tasks import stream

State = dict[str, Any]


def over_tasks(recipe: Recipe, fn: Callable, task: Any, key: jax.Array) -> Any:
  """Calls `fn(task, keys)` for each optimization of the meta-batch in turn; `task` is any tree of such rows.

  Results get a leading axis [meta_batch]; side by side they are one task: [1].
  """
  if recipe.side_by_side:
    gradient_and_more, after = fn(task, _minibatch_keys(recipe, key))
    return jax.tree.map(lambda x: x[None], gradient_and_more), after
  keys = jax.vmap(lambda k: _minibatch_keys(recipe, k))(jax.random.split(key, recipe.meta_batch))
  return jax.lax.map(lambda args: fn(*args), (task, keys))


def _minibatch_keys(recipe: Recipe, key: jax.Array) -> jax.Array:
  return jax.random.split(key, recipe.unroll_length + 1)


def slot(recipe: Recipe, family: str, held: bool) -> str:
  """Names the optimization in progress of a problem: staggered ones outlast a validation (`held`)."""
  return f"validation of {family}" if held and recipe.staggered else family


def segments(recipe: Recipe, state: State) -> jax.Array:
  """Computes how many segments the epoch in progress has, int32: of its stage, or a draw up to that."""
  lengths = jnp.array(recipe.lengths, jnp.int32) // recipe.unroll_length
  longest = lengths[state["curriculum"].stage]
  if not recipe.shortest:
    return longest
  u = jax.random.uniform(stream(state["key"], streams.LENGTH, state["epoch"]))
  low, high = jnp.log(recipe.shortest / recipe.unroll_length), jnp.log(longest.astype(jnp.float32))
  return jnp.clip(jnp.round(jnp.exp(low + u * (high - low))).astype(jnp.int32), 1, longest)


def begins(recipe: Recipe, state: State) -> jax.Array:
  """Tells of each optimization of a training epoch whether it begins at this segment: bool [meta_batch].

  All at once, or, staggered, one after the other, so that a meta-gradient sees all parts of optimizations.
  Side by side they are one: a scalar.
  """
  if recipe.side_by_side or not recipe.staggered:
    first = state["segment"] == 0
    return first if recipe.side_by_side else jnp.broadcast_to(first, (recipe.meta_batch,))
  offsets = jnp.arange(recipe.meta_batch) * segments(recipe, state) // recipe.meta_batch
  return state["segment"] == offsets


def spent(recipe: Recipe, state: State) -> jax.Array:
  """Tells whether the budget of epochs or of inner steps is used up."""
  spent = state["epoch"] >= recipe.epochs
  return spent | (state["inner_steps"] >= recipe.inner_steps) if recipe.inner_steps else spent


def counted(value: jax.Array, counts: Any) -> tuple[jax.Array, jax.Array]:
  """Returns (sum, weight) of a value that may be absent or not finite: then with weight 0."""
  good = jnp.isfinite(value) & counts
  return jnp.where(good, value, 0.0), good.astype(jnp.float32)


def metrics(recipe: Recipe, state: State, phase: str, loss: jax.Array | None = None) -> dict:
  """Returns the logged numbers of a step in a phase "self" | "imitation" | "validation"."""
  one = jnp.ones((), jnp.float32)
  found = {
    "self_loss": counted(one if loss is None else loss, phase == "self"),
    "stage": once(jnp.asarray(state["curriculum"].stage, jnp.float32)),
    **{n: once(jnp.asarray(state[n], jnp.float32)) for n in ("epoch", "inner_steps", "skipped")},
    "best": counted(state["curriculum"].best, True),
  }
  if recipe.teachers:
    found["imitation_loss"] = counted(one if loss is None else loss, phase == "imitation")
  return found | {f"validation_{n}": counted(one, False) for n in state["validation"]}
