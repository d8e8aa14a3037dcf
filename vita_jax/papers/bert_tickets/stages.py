"""How each training begins: prune what the one before has trained, and go back to where it started.

A run is one stage for each training (see `plan`); the transitions here are the stages' `enter`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import compress
from vita_jax.data.index import batches_per_epoch
from vita_jax.data.resident import Resident, sweep_batch_at
from vita_jax.papers.bert_tickets.masks import GivenMasks, given_masks
from vita_jax.papers.bert_tickets.model import Start, overlaid, theta0
from vita_jax.papers.bert_tickets.plan import Training, plan
from vita_jax.papers.bert_tickets.recipe import Recipe
from vita_jax.papers.bert_tickets.steps import make_step, optimizer
from vita_jax.papers.bert_tickets.tasks import Task
from vita_jax.train.experiment import Batch, Stage, State, Sweep

# Streams of a seed's key beside `model.INIT` and `masks.STREAM`.
REINIT, SHUFFLE = 1, 2

# Where data are streamed `enter` runs on the host: one program, not one for each array.
_pack, _unpack = jax.jit(compress.pack), jax.jit(compress.unpack)


class Transition(NamedTuple):
  """What every beginning of a training needs of an experiment.

  Attributes:
    fresh: `key -> params`, all weights random.
    tx: optimizer. select: regex of the pruned leaves. head: regex of the leaves of the head.
    size: number of weights that can be pruned. scope: "global" | "layer".
    outputs: `(state, batch) -> rows`, kept of each result's development rows.
    keeps_head: whether search rounds leave the head as trained.
    masks: of the tickets, where they are not cut in a search; or None.
    pretrained: whether `also["pretrained"]` holds weights.
    rewinds: whether there is an early point to go back to.
    blank: makes what the state holds from the start, so that all trainings share one compiled step: zeros for
      the bits of every ticket and for the outputs of every result.
  """

  fresh: Callable[[jax.Array], Any]
  tx: Any
  select: str
  head: str
  size: int
  scope: str
  outputs: Callable[[State, Batch], jax.Array]
  keeps_head: bool
  masks: GivenMasks | None
  pretrained: bool
  rewinds: bool
  blank: Callable[[], dict[str, Any]]


def make_stages(
  recipe: Recipe, start: Start, task: Task, *, fresh: Callable[[jax.Array], Any], outputs: Callable
) -> tuple[Stage, ...]:
  """Makes the stages of a recipe.

  Args:
    recipe: how it is trained.
    start: from where.
    task: on what.
    fresh: `key -> params`, all weights random.
    outputs: `(state, batch) -> rows` kept of the development rows.

  Raises:
    ValueError: an early point outside a training; see `plan` and `given_masks`.
  """
  per_epoch = batches_per_epoch(len(task.train.source), task.train.batch_size)
  steps = recipe.steps or max(1, round(recipe.epochs * per_epoch))  # of one training
  early = round(recipe.rewind * steps)
  if recipe.rewind and not 0 < early < steps:
    raise ValueError(f"config.rewind {recipe.rewind:g} of {steps} steps is not a step within a training")
  if "shuffled" in recipe.starts and start.config.num_hidden_layers < 2:
    raise ValueError("config.starts 'shuffled' moves layers, and this model has one: use shuffled_entries")
  tree = jax.eval_shape(lambda: theta0(fresh, jax.random.key(0), start.pretrained))
  size = count(tree, start.select)
  trainings = plan(recipe, size)
  row = jax.eval_shape(lambda p: task.outputs(p, sweep_batch_at(task.dev, task.dev.arrays, 0)), tree)
  n_rows = len(task.dev.arrays["ids"])
  transition = Transition(
    fresh=fresh,
    tx=optimizer(clip_norm=recipe.clip_norm),
    select=start.select,
    head=start.head,
    size=size,
    scope=recipe.scope,
    outputs=outputs,
    keeps_head=recipe.keeps_head,
    masks=given_masks(recipe, start, tree),
    pretrained=bool(start.pretrained),
    rewinds=early > 0,
    blank=functools.partial(blank, tree, start.select, trainings, row, n_rows),
  )
  also = {"dev": task.dev}
  if start.pretrained:
    also["pretrained"] = Resident({"params": start.pretrained})
  lengths = _lengths(recipe, transition, task, steps=steps, early=early)
  before = (None, *trainings)
  return tuple(
    Stage(
      training.name,
      *lengths(training),
      task.train,
      also,
      enter=functools.partial(enter, transition, training, last),
    )
    for training, last in zip(trainings, before, strict=False)
  )


def _lengths(
  recipe: Recipe, transition: Transition, task: Task, *, steps: int, early: int
) -> Callable[[Training], tuple[int, Callable]]:
  """Returns a function from a training to (its number of steps, its step); alike ones share a program."""
  step = functools.partial(make_step, task.loss, transition.tx, learning_rate=recipe.learning_rate)
  whole = step(decay_steps=steps)
  rest = step(decay_steps=steps, offset=early) if early else whole
  # The released schedule falls over the whole search and starts again in each of its rounds.
  over_all = step(decay_steps=round(steps / recipe.rate), offset=early) if recipe.as_released else None

  def length(training: Training) -> tuple[int, Callable]:
    if training.start == "early":
      return early, whole
    if training.start in ("random_reinit", "trained"):
      return steps, (whole if training.ticket else over_all or whole)
    return steps - early, (rest if training.ticket or training.result else over_all or rest)

  return length


def enter(how: Transition, training: Training, before: Training | None, state: State, sweep: Sweep) -> State:
  """Begins `training` after `before` (None: it is the first): the transition of its stage."""
  key = state["key"]
  pretrained = sweep(_weights, state, over="pretrained") if how.pretrained else {}
  if before is None:
    state = {**state, **how.blank()}
  elif before.result:
    rows = sweep(how.outputs, state, over="dev")
    state = {**state, "outputs": state["outputs"] | {before.result: rows}}
  number = jnp.int32(training.number)
  if training.start == "on":  # the same training continues
    return {**state, "early": _copied(state["params"]), "training": number}
  bits, tickets = _masks(how, training, before, state, pretrained)
  keeps = how.keeps_head and before is not None and not (training.ticket or before.ticket)
  early = {}
  if how.rewinds and before is not None:
    early = _copied(state["params"]) if before.start == "early" else state["early"]
  now = state["params"] if training.start == "trained" or keeps else {}
  started = _begin(how)(key, pretrained, early, now, bits, start=training.start, keep_head=keeps)
  new = {**state, **started, "training": number, "masks": bits, "tickets": tickets}
  return new | ({"early": early or _copied(started["params"])} if how.rewinds else {})


def _weights(state: State, batch: Batch) -> Any:
  del state
  return batch["params"]


def _prune(how: Transition, state: State, zeros: int) -> Mapping[str, jax.Array]:
  """Bits of the state's masks with so many zeros in all, the smallest of its weights."""
  params = state["params"]
  masks = _unpack(state["masks"], params)
  share = zeros / how.size
  return _pack(compress.magnitude_masks(params, share, scope=how.scope, select=how.select, masks=masks))


def _masks(
  how: Transition, training: Training, before: Training | None, state: State, pretrained: Any
) -> tuple[Any, dict[str, Any]]:
  """(bits of this training's masks, bits of all tickets so far)."""
  tickets = state["tickets"]
  if training.result == "full":
    return {}, tickets
  if before is not None and before.cut:
    tickets = tickets | {name: _prune(how, state, zeros) for name, zeros in before.cut}
  if how.masks is not None and before is None:
    made = how.masks(state["key"], lambda: _first(how.fresh)(state["key"], pretrained))
    tickets = tickets | {name: _pack(m) for name, m in made.items()}
  if training.ticket:
    return tickets[training.ticket], tickets
  if before is None or before.start == "early" or training.start == "early":
    return _pack(compress.full_masks(state["params"], select=how.select)), tickets
  return _prune(how, state, training.zeros), tickets


@functools.cache
def _begin(how: Transition) -> Callable[..., State]:
  """`begin(...) -> {"params", "tx"}`: where a training starts, masked, with a new optimizer."""

  @functools.partial(jax.jit, static_argnames=("start", "keep_head"))
  def begin(
    key: jax.Array, pretrained: Any, early: Any, now: Any, bits: Any, *, start: str, keep_head: bool
  ) -> State:
    first = theta0(how.fresh, key, pretrained)
    params = early or first
    shuffle_key = jax.random.fold_in(key, SHUFFLE)
    if start == "shuffled":
      params = compress.shuffle_layers(shuffle_key, params, select=how.select)
    elif start == "shuffled_entries":
      params = compress.shuffle_entries(shuffle_key, params, select=how.select)
    elif start == "random_reinit":
      other = overlaid(first, how.fresh(jax.random.fold_in(key, REINIT)))
      params = compress.rewind(other, params, select=how.head)
    elif start == "trained":
      params = now
    if keep_head:
      params = compress.rewind(params, now, select=how.head)
    # A training gives its weights' memory away step by step: it must not be that of θ0 or of the early
    # point.
    params = _copied(compress.apply_masks(params, compress.unpack(bits, params)))
    return {"params": params, "tx": how.tx.init(params)}

  return begin


@functools.cache
def _first(fresh: Callable) -> Callable:
  return jax.jit(functools.partial(theta0, fresh))


def _copied(tree: Any) -> Any:
  return jax.tree.map(jnp.copy, tree)


def blank(
  tree: Any, select: str, trainings: tuple[Training, ...], row: jax.ShapeDtypeStruct, n_rows: int
) -> dict[str, Any]:
  """Makes zeros for `tickets` (bits) and `outputs` ([n_rows, ...] of all results but the last).

  Args:
    tree: of shapes.
    select: regex of the pruned leaves.
    trainings: of the run; the last one's result needs no place, since it ends the run.
    row: shape and dtype of a batch of outputs [B, ...].
    n_rows: development rows.
  """
  bits = {n: (*x.shape[:-1], -(-x.shape[-1] // 8)) for n, x in compress.chosen(tree, select).items()}
  tickets = dict.fromkeys([n for t in trainings for n in (*dict(t.cut), t.ticket) if n])
  results = [t.result for t in trainings[:-1] if t.result]
  zeros = {
    "tickets": {name: {n: np.zeros(shape, np.uint8) for n, shape in bits.items()} for name in tickets},
    "outputs": {name: np.zeros((n_rows, *row.shape[1:]), row.dtype) for name in results},
  }
  return jax.tree.map(jnp.array, zeros)


def count(tree: Any, select: str) -> int:
  """Counts the weights in the leaves that `select` finds, of a tree of shapes."""
  return sum(int(np.prod(jnp.shape(x))) for x in compress.chosen(tree, select).values())
