"""The one training step of all methods: the generator's, then its judges', all on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics
from vita_jax.data.curriculum import Candidates, draw, limit_at, pacing, share_within
from vita_jax.data.image_pool import ImagePool, push_and_sample
from vita_jax.hands import heat_maps, replace_background
from vita_jax.losses.gan import discriminator_loss, generator_loss
from vita_jax.papers.mm_hand.data import to_floats
from vita_jax.papers.mm_hand.guidance import (
  Pose,
  depth_inputs,
  drawn_joints,
  is_hand,
  scaled_depth,
  streams_of,
)
from vita_jax.papers.mm_hand.losses import perceptual, pose_distance_in, reconstruction
from vita_jax.papers.mm_hand.model import Nets, depth_of, run
from vita_jax.papers.mm_hand.recipe import Phase, Recipe
from vita_jax.train.experiment import Metrics, State

Tree = Any


class Seen(NamedTuple):
  """A batch as the step sees it.

  Attributes:
    streams: what the trained network takes.
    target: what it should give: pictures [n, S, S, 3], or depth maps [n, S, S, 1], in [-1, 1].
    source: uint8 [n, S, S, 3], what the picture's appearance is from.
    pose: of the target.
  """

  streams: tuple[jax.Array, ...]
  target: jax.Array
  source: jax.Array
  pose: Pose


class Made(NamedTuple):
  """What the trained network made of a batch.

  Attributes:
    picture: like the target.
    back: joints maps that the way back makes of the sources; None without one.
    cycles: what came there and back, and what it was, (made, was) each.
    stats: running statistics afterwards.
  """

  picture: jax.Array
  back: jax.Array | None
  cycles: tuple[tuple[jax.Array, jax.Array], ...]
  stats: Tree


def lr_factor(epoch: Any, *, epochs: int, decay: int) -> jax.Array:
  """Computes the factor of the rate after `epoch` finished epochs: 1 - max(0, e + 2 - epochs) / (decay + 1).

  At least 0, where the released code goes below. With decay 0 the last of the epochs would have the factor 0.

  Examples:
    >>> [float(lr_factor(e, epochs=100, decay=0)) for e in (97, 98, 99, 200)]
    [1.0, 1.0, 0.0, 0.0]
  """
  over = jnp.maximum(0, jnp.asarray(epoch) + 2 - epochs)
  return jnp.maximum(1.0 - over / (decay + 1), 0.0)


OPTIMIZER = optax.scale_by_adam(b1=0.5)  # of every network; eps 1e-8 and beta2 0.999 are the defaults


def rate_at(recipe: Recipe, phase: Phase, per_epoch: int, t: jax.Array) -> jax.Array:
  """Computes the learning rate of all networks at step t: constant where the phase says how many steps."""
  keys = recipe.train
  if phase.steps:
    return jnp.asarray(keys.rate)
  return keys.rate * lr_factor(t // per_epoch, epochs=keys.epochs, decay=keys.decay)


def phase_steps(recipe: Recipe, phase: Phase, per_epoch: int) -> int:
  """Counts the steps of a phase: those of the epochs whose rate is above 0, unless it says how many."""
  return phase.steps or max(recipe.train.epochs + recipe.train.decay - 1, 1) * per_epoch


def gan_step(
  recipe: Recipe,
  nets: Nets,
  phase: Phase,
  per_epoch: int,
  state: State,
  batch: Mapping[str, Any],
  t: jax.Array,
) -> tuple[State, Metrics]:
  """Takes one step of the generator, or of the network of depth, and then of each judge.

  The pictures are made once, in training mode: the judges learn from those that the generator learned from.
  While the generator learns, the judges' parameters stay and their running statistics move.

  Args:
    recipe: the settings.
    nets: the networks.
    phase: which stage it is.
    per_epoch: batches of an epoch.
    state: `params` and `stats` by network, `tx` of those that learn, `pools` by judge, `key`.
    batch: `row` int32 [n], the targets; `hands`: all training hands, see `data.Inputs`.
    t: the step.
  """
  key = jax.random.fold_in(state["key"], t)
  pair_key, net_key, *judge_keys = jax.random.split(key, 2 + len(phase.judges))
  seen = look(recipe, nets, phase, per_epoch, state, batch, pair_key, t)
  loss = partial(_objective, recipe, nets, phase, state, seen, net_key)
  (total, (made, stats, values)), grads = jax.value_and_grad(loss, has_aux=True)(state["params"][phase.net])
  rate = rate_at(recipe, phase, per_epoch, t)
  new = _updated({**state, "stats": {**state["stats"], **stats}}, phase.net, grads, rate)
  values = {"loss": total, **values}
  for name, own in zip(phase.judges, judge_keys, strict=True):
    for i in range(recipe.loss.ratio):
      again = jax.random.fold_in(own, i)
      new, values[f"judge_{name}"] = judge_step(recipe, nets, phase, name, new, seen, made, rate, again)
  return new, {name: metrics.once(value) for name, value in values.items()}


def look(
  recipe: Recipe,
  nets: Nets,
  phase: Phase,
  per_epoch: int,
  state: State,
  batch: Mapping[str, Any],
  key: jax.Array,
  t: jax.Array,
) -> Seen:
  """Draws a source for each target, as the curriculum has it, and the maps of both poses.

  Of rendered hands a share of sources, `config.data.one_background`, stand before the target's background.
  """
  hands, rows = batch["hands"], batch["row"]
  second = Pose(hands["uv"][rows], hands["z"][rows])
  if phase.net == "depth":
    truth = scaled_depth(hands["depth"][rows].astype(jnp.float32), recipe.depth.far)[..., None]
    return Seen((depth_inputs(recipe, second),), truth, hands["image"][rows], second)
  keys, table = recipe.curriculum, Candidates(hands["candidates"], hands["distances"])
  progress = t / phase_steps(recipe, phase, per_epoch)
  if keys.pacing == "steps":
    share = share_within(table, rows, limit_at(progress))
  else:
    share = pacing(keys.kind, progress, start=keys.start, full=keys.full)
  sources = draw(key, table, rows, share, kind=keys.kind)
  first, source = Pose(hands["uv"][sources], hands["z"][sources]), hands["image"][sources]
  if "behind" in hands:  # no place knows more of what is behind a target than its source shows
    seen, own = hands["behind"][rows], hands["behind"][sources]
    moved = replace_background(source, hands["alpha"][sources], own, seen)
    one = jax.random.bernoulli(jax.random.fold_in(key, 1), recipe.data.one_background, (len(rows), 1, 1, 1))
    source = jnp.where(one, moved, source)
  depth = depth_of(recipe, nets, state["params"], state["stats"])
  streams = streams_of(recipe, to_floats(source), first, second, depth)
  return Seen(streams, to_floats(hands["image"][rows]), source, second)


def make(
  recipe: Recipe, nets: Nets, phase: Phase, params: Tree, stats: Tree, seen: Seen, key: jax.Array
) -> Made:
  """Applies the trained network in training mode; of "cycle" both ways, there and back."""
  if phase.net == "depth":
    y, moved = run(nets.depth, params, stats, seen.streams, key=key)
    return Made(y, None, (), moved)
  if recipe.generator.kind == "cycle":
    there, back = (partial(_plainly, nets.generator, params[name]) for name in ("there", "back"))
    picture, maps, source = there(seen.streams[0]), back(to_floats(seen.source)), to_floats(seen.source)
    # Unpaired: the map is the target's, and real pictures are the sources.
    cycles = ((back(picture), seen.streams[0]), (there(maps), source))
    return Made(picture, maps, cycles, stats)
  options = {"coarse": phase.name == "coarse"} if recipe.generator.kind == "two_stage" else {}
  y, moved = run(nets.generator, params, stats, seen.streams, key=key, **options)
  return Made(y, None, (), moved)


def _plainly(net: Any, params: Tree, images: jax.Array) -> jax.Array:
  return run(net, params, {}, (images,), key=None)[0]


def _objective(
  recipe: Recipe, nets: Nets, phase: Phase, state: State, seen: Seen, key: jax.Array, params: Tree
) -> tuple[jax.Array, tuple[Made, dict[str, Tree], dict[str, jax.Array]]]:
  """Returns the loss and (what was made, statistics that moved, terms by name)."""
  net_key, *judge_keys = jax.random.split(key, 1 + len(phase.judges))
  made = make(recipe, nets, phase, params, state["stats"][phase.net], seen, net_key)
  terms: dict[str, tuple[float, jax.Array]] = {}
  if phase.l1:
    hand = is_hand(recipe, seen.pose) if phase.masked else None
    terms["l1"] = phase.l1, reconstruction(made.picture, seen.target, hand)
  if phase.perceptual and nets.perceptual is not None:
    distance = perceptual(nets.perceptual, made.picture, seen.target, distance=recipe.loss.distance)
    terms["perceptual"] = phase.perceptual, distance
  if phase.pose and nets.joints is not None:
    terms["pose"] = phase.pose, pose_distance_in(nets.joints(made.picture), seen.pose.uv, recipe.size)
  if phase.cycle:
    terms["cycle"] = phase.cycle, sum((reconstruction(a, b) for a, b in made.cycles), start=jnp.zeros(()))
  stats, opinions = {phase.net: made.stats}, []
  for name, own in zip(phase.judges, judge_keys, strict=True):
    judge, fake = f"judge_{name}", made.back if name == "map" else made.picture
    shown = beside(recipe, name, fake, _condition(name, seen))
    scores, stats[judge] = run(
      nets.judges[name], state["params"][judge], state["stats"][judge], (shown,), key=own
    )
    opinions.append(generator_loss(scores, kind=phase.kind))
  if opinions:
    terms["gan"] = phase.gan, jnp.mean(jnp.stack(opinions))
  total = sum((weight * value for weight, value in terms.values()), start=jnp.zeros(()))
  return total, (made, stats, {name: value for name, (_, value) in terms.items()})


def _condition(name: str, seen: Seen) -> dict[str, jax.Array]:
  """What a judge's pictures were made for, small enough to be pooled."""
  if name == "appearance":
    return {"source": seen.source}
  if name == "shape":
    return {"uv": seen.pose.uv}
  return {"uv": seen.pose.uv, "z": seen.pose.z} if name in ("joints", "depth") else {}


def beside(recipe: Recipe, name: str, image: jax.Array | None, condition: Mapping[str, Any]) -> jax.Array:
  """Joins a picture (or a map) with what the judge is shown beside it."""
  assert image is not None
  if name == "appearance":
    return jnp.concatenate([image, to_floats(condition["source"])], axis=-1)
  if name == "shape":
    return jnp.concatenate([image, heat_maps(condition["uv"], size=recipe.size)], axis=-1)
  if name not in ("joints", "depth"):
    return image
  drawn = drawn_joints(recipe, Pose(condition["uv"], condition["z"]))
  return jnp.concatenate([image, jnp.broadcast_to(drawn, (*drawn.shape[:-1], 3))], axis=-1)


def pooled(name: str, made: Made, seen: Seen) -> dict[str, jax.Array]:
  """Returns what the pool of a judge keeps of a batch: pictures, and joints in place of their maps."""
  image = made.back if name == "map" else made.picture
  assert image is not None
  return {"image": jax.lax.stop_gradient(image), **_condition(name, seen)}


def judge_step(
  recipe: Recipe,
  nets: Nets,
  phase: Phase,
  name: str,
  state: State,
  seen: Seen,
  made: Made,
  rate: jax.Array,
  key: jax.Array,
) -> tuple[State, jax.Array]:
  """Takes one step of a judge: on real pictures, then on those that its pool gives back.

  Each of the two passes has statistics of its own, as two calls in PyTorch.
  """
  pool_key, real_key, fake_key = jax.random.split(key, 3)
  pool, shown = push_and_sample(ImagePool(**state["pools"][name]), pooled(name, made, seen), pool_key)
  real = seen.target
  if name == "map":
    real = seen.streams[0]
  elif name == "picture":
    real = to_floats(seen.source)
  reals = beside(recipe, name, real, _condition(name, seen))
  fakes = beside(recipe, name, shown["image"], shown)
  judge, net = f"judge_{name}", nets.judges[name]

  def loss(params: Tree) -> tuple[jax.Array, Tree]:
    on_real, stats = run(net, params, state["stats"][judge], (reals,), key=real_key)
    on_fake, stats = run(net, params, stats, (fakes,), key=fake_key)
    return phase.gan * discriminator_loss(on_real, on_fake, kind=phase.kind), stats

  (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(state["params"][judge])
  new = {
    **state,
    "stats": {**state["stats"], judge: stats},
    "pools": {**state["pools"], name: pool._asdict()},
  }
  return _updated(new, judge, grads, rate), value


def _updated(state: State, name: str, grads: Tree, rate: jax.Array) -> State:
  params = state["params"][name]
  directions, tx = OPTIMIZER.update(grads, state["tx"][name], params)
  moved = jax.tree.map(lambda x, step: x - rate * step, params, directions)
  return {**state, "params": {**state["params"], name: moved}, "tx": {**state["tx"], name: tx}}
