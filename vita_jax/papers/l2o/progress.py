"""What every step of meta-training shares: its optimizations one by one, its budget and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.metrics import once
from vita_jax.papers.l2o import tasks as streams
from vita_jax.papers.l2o.curriculum import TRAIN
from vita_jax.papers.l2o.recipe import Recipe
from vita_jax.papers.l2o.tasks import stream

State = dict[str, Any]


def over_tasks(recipe: Recipe, fn: Callable, task: Any, key: jax.Array) -> Any:
  """Calls `fn(task, keys)` for each optimization of the meta-batch: results [meta_batch, ...], or [1] of all.

  With PES all take each step at once, which is faster; a pass back would compile for minutes so.
  """
  if recipe.side_by_side:
    gradient_and_more, after = fn(task, _minibatch_keys(recipe, key))
    return jax.tree.map(lambda x: x[None], gradient_and_more), after
  at_once = recipe.meta_batch if recipe.gradient == "pes" else None
  keys = jax.vmap(lambda k: _minibatch_keys(recipe, k))(jax.random.split(key, recipe.meta_batch))
  return jax.lax.map(lambda args: fn(*args), (task, keys), batch_size=at_once)


def _minibatch_keys(recipe: Recipe, key: jax.Array) -> jax.Array:
  return jax.random.split(key, recipe.unroll_length + 1)


def slot(recipe: Recipe, family: str, held: bool) -> str:
  """Names the optimization in progress of a problem: staggered ones outlast a validation (`held`)."""
  return f"validation of {family}" if held and recipe.staggered else family


def segments(recipe: Recipe, state: State) -> jax.Array:
  """Computes how many segments the epoch in progress has, int32.

  It is one optimization: of the length of its stage, or a draw up to that. Staggered optimizations have
  lengths of their own and go on in later epochs: an epoch is as long as the shortest of them can be, and
  then comes another problem.
  """
  if recipe.staggered and recipe.shortest:
    return jnp.asarray(max(recipe.shortest // recipe.unroll_length, 1), jnp.int32)
  return _drawn(recipe, state, stream(state["key"], streams.LENGTH, state["epoch"]), ())


def validation_segments(recipe: Recipe, state: State) -> jax.Array:
  """Computes how many segments a validation run has: the next stage's; the last stage's are its own."""
  lengths = jnp.array((*recipe.lengths[1:], recipe.lengths[-1]), jnp.int32) // recipe.unroll_length
  return lengths[state["curriculum"].stage]


def lengths(recipe: Recipe, state: State, before: jax.Array) -> jax.Array:
  """Computes how many segments the optimizations have that begin here, int32 like `before`.

  Args:
    recipe: says whether they are staggered: then each draws its own, and the first ones of all are cut short
      one after the other, so that a meta-gradient sees all parts of optimizations.
    state: with the phase.
    before: those of the optimizations whose places they take; 0 where there was none.
  """
  training = jnp.broadcast_to(segments(recipe, state), before.shape)
  if recipe.staggered:
    key = stream(state["key"], streams.LENGTH, state["epoch"], state["segment"])
    drawn = _drawn(recipe, state, key, before.shape)
    cut = jnp.maximum(drawn * (1 + jnp.arange(recipe.meta_batch)) // recipe.meta_batch, 1)
    training = jnp.where(before == 0, cut, drawn)
  return jnp.where(state["phase"] == TRAIN, training, validation_segments(recipe, state))


def _drawn(recipe: Recipe, state: State, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """The stage's number of segments, or draws up to it, log-uniform."""
  stages = jnp.array(recipe.lengths, jnp.int32) // recipe.unroll_length
  longest = jnp.broadcast_to(stages[state["curriculum"].stage], shape)
  if not recipe.shortest:
    return longest
  u = jax.random.uniform(key, shape)
  low, high = jnp.log(recipe.shortest / recipe.unroll_length), jnp.log(longest.astype(jnp.float32))
  return jnp.clip(jnp.round(jnp.exp(low + u * (high - low))).astype(jnp.int32), 1, longest)


def spent(recipe: Recipe, state: State) -> jax.Array:
  """Tells whether the budget of epochs or of inner steps is used up."""
  return (state["epoch"] >= recipe.epochs) | (0 < recipe.inner_steps <= state["inner_steps"])


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
