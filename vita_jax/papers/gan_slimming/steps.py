"""The two training steps: a teacher's, and one of the unified objective that all methods share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics
from vita_jax.compress import (
  count_macs,
  empty_channels,
  gate_labels,
  ista,
  live_macs,
  pruned_share,
  steer_rho,
  zero_shifts,
)
from vita_jax.data.image_pool import ImagePool, push_and_sample
from vita_jax.losses.distil import absolute_distance
from vita_jax.losses.gan import discriminator_loss, generator_loss
from vita_jax.nn.features import FeatureNet
from vita_jax.papers.gan_slimming.data import to_floats
from vita_jax.papers.gan_slimming.losses import teacher_distance
from vita_jax.papers.gan_slimming.model import Nets, variables_of
from vita_jax.papers.gan_slimming.recipe import Objective, Phase, Recipe, Teacher
from vita_jax.train.experiment import Metrics, State

Schedule = Any  # step -> rate
GAIN, PAUSED = 0.02, 0.1  # how fast rho is steered; what is left of it below the plan


def epoch_cosine(rate: float, steps: int, per_epoch: int) -> Schedule:
  """Makes the paper's schedule: rate (1 + cos(pi e / E)) / 2 in epoch e of E, to 0, without warm-up."""
  epochs = max(steps / per_epoch, 1.0)  # need not be whole: the last epoch may be cut short

  def at(step: jax.Array) -> jax.Array:
    return rate * (1 + jnp.cos(jnp.pi * jnp.minimum(step // per_epoch / epochs, 1.0))) / 2

  return at


def coupled_adam(rate: Schedule, decay: float) -> optax.GradientTransformation:
  """Makes Adam (0.5, 0.999) whose L2 is added to the gradient, as torch's `Adam(weight_decay=...)`."""
  return optax.chain(
    optax.add_decayed_weights(decay),
    optax.scale_by_adam(b1=0.5, b2=0.999),
    optax.scale_by_learning_rate(rate),
  )


def student_optimizers(
  nets: Nets, params: Any, objective: Objective, phase: Phase, per_epoch: int
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
  """Makes the optimizers of the student and of the discriminator.

  Slimming: ISTA on the scales of the graph, coupled Adam on all else. Fine-tuning: coupled Adam on all.
  """

  def schedule(rate: float) -> Schedule:
    return epoch_cosine(rate, phase.steps, per_epoch)

  weights = coupled_adam(schedule(phase.rate), objective.decay)
  discriminator = coupled_adam(schedule(phase.discriminator_rate), objective.decay)
  if phase.fixed:
    return weights, discriminator
  gates = ista(schedule(phase.gate_rate), phase.rho, objective.momentum)
  labels = gate_labels(params, nets.graph)
  return optax.multi_transform({"gate": gates, "weight": weights}, labels), discriminator


def slim_step(
  recipe: Recipe,
  nets: Nets,
  features: FeatureNet | None,
  phase: Phase,
  per_epoch: int,
  state: State,
  batch: Mapping[str, jax.Array],
  t: jax.Array,
) -> tuple[State, Metrics]:
  """Takes one step of the student and of the discriminator, both from the same pictures G(x).

  Args:
    recipe: the settings.
    nets: the networks.
    features: that the distance to the teacher is computed on; None: mean squared error.
    phase: which of the two stages it is.
    per_epoch: batches of an epoch.
    state: `params` {"generator", "discriminator"}, `teacher`, `tx` (both optimizers), `pool`, `kept`, `rho`,
      `key`, and `clips` where quantisation averages them.
    batch: `image` uint8 [n, h, w, 3], and `target` where there is a target domain.
    t: the step.
  """
  params, objective = state["params"], recipe.objective
  x = to_floats(batch["image"])
  wanted = jax.lax.stop_gradient(nets.teacher.apply({"params": state["teacher"]}, x)).astype(jnp.float32)
  loss = partial(_student_loss, nets, features, phase, objective, state, x, wanted)
  (_, (fake, clips, values)), grads = jax.value_and_grad(loss, has_aux=True)(params["generator"])
  optimizers = student_optimizers(nets, params["generator"], objective, phase, per_epoch)
  new: State = dict(state)
  more: dict[str, jax.Array] = {} if phase.fixed else {"rho": state["rho"]}
  if phase.steer:
    share, planned = live_share(nets, params["generator"]), planned_share(phase, t)
    # A pruned channel hardly comes back (the gradient of ReLU at 0 is 0): so none is pruned before
    # the plan requires it. Not 0, with which the rest of the momentum would make every zero a tiny number.
    more = {"rho": jnp.where(share > planned, 1.0, PAUSED) * state["rho"]}
    new["rho"] = steer_rho(state["rho"], share, planned, gain=GAIN)
    values |= {"macs_share": share, "rho": more["rho"]}
  updates, tx = optimizers[0].update(grads, state["tx"]["generator"], params["generator"], **more)
  generator = optax.apply_updates(params["generator"], updates)
  if not phase.fixed:
    generator = zero_shifts(generator, nets.graph)
    values["pruned"] = pruned_share(generator, nets.graph)
  new |= {"params": {**params, "generator": generator}, "tx": {**state["tx"], "generator": tx}}
  if clips is not None:
    new["clips"] = clips
  if phase.gan:
    real = wanted if objective.real == "teacher" else to_floats(batch["target"])
    new, values["discriminator"] = _discriminator_step(
      nets,
      optimizers[1],
      new,
      real,
      fake,
      jax.random.fold_in(state["key"], t),
      unit="images",
      kind=objective.kind,
    )
  return new, {name: metrics.once(value) for name, value in values.items()}


def live_share(nets: Nets, generator: Any) -> jax.Array:
  """Computes what is left of the multiply-adds without the channels whose scale is 0."""
  side = 64  # shares are the same for every size
  left = live_macs(generator, nets.graph, nets.student.layers, side, side)
  return left / count_macs(nets.teacher.layers, side, side)


def planned_share(phase: Phase, t: jax.Array) -> jax.Array:
  """Computes the share that rho is steered to: a line from 1 to the budget in 2/3 of the steps, then that."""
  done = jnp.minimum(t / max(2 * phase.steps / 3, 1.0), 1.0)
  return 1.0 + (phase.steer - 1.0) * done


def _student_loss(
  nets: Nets,
  features: FeatureNet | None,
  phase: Phase,
  objective: Objective,
  state: State,
  x: jax.Array,
  wanted: jax.Array,
  generator: Any,
) -> tuple[jax.Array, tuple[jax.Array, Any, dict[str, jax.Array]]]:
  """Returns the loss and (pictures, new clips or None, terms by name); L1 is the proximal step's."""
  if phase.fixed:
    generator = empty_channels(generator, nets.graph, state["kept"])
  variables, clips = variables_of(generator, state.get("clips")), None
  if "clips" in state:
    fake, changed = nets.student.apply(variables, x, mutable=["clips"])
    clips = changed["clips"]
  else:
    fake = nets.student.apply(variables, x)
  fake = fake.astype(jnp.float32)
  total, values = jnp.zeros(()), {}
  if phase.distil:
    values["distance"] = teacher_distance(features, fake, wanted, style_weight=objective.style)
    total = objective.beta * values["distance"]
  if phase.gan:
    scores = nets.discriminator.apply({"params": state["params"]["discriminator"]}, fake)
    values["gan"] = generator_loss(scores, kind=objective.kind, unit="images")
    total = total + values["gan"]
  return total, (fake, clips, {"loss": total, **values})


def _discriminator_step(
  nets: Nets,
  optimizer: optax.GradientTransformation,
  state: State,
  real: jax.Array,
  fake: jax.Array,
  key: jax.Array,
  *,
  unit: str,
  kind: str,
) -> tuple[State, jax.Array]:
  """One step of the discriminator on real pictures and on those that the pool gives back."""
  pool, shown = push_and_sample(ImagePool(**state["pool"]), fake, key)

  def loss(discriminator: Any) -> jax.Array:
    # Together: one pass over the weights; instance norm keeps the pictures apart.
    scores = nets.discriminator.apply({"params": discriminator}, jnp.concatenate([real, shown]))
    return discriminator_loss(scores[: len(real)], scores[len(real) :], kind=kind, unit=unit)

  value, grads = jax.value_and_grad(loss)(state["params"]["discriminator"])
  updates, tx = optimizer.update(grads, state["tx"]["discriminator"], state["params"]["discriminator"])
  discriminator = optax.apply_updates(state["params"]["discriminator"], updates)
  return {
    **state,
    "params": {**state["params"], "discriminator": discriminator},
    "tx": {**state["tx"], "discriminator": tx},
    "pool": pool._asdict(),
  }, value


def teacher_optimizer(teacher: Teacher, per_epoch: int) -> optax.GradientTransformation:
  """Makes the optimizer of both networks while a teacher is trained: Adam (0.5, 0.999), no decay."""
  return coupled_adam(epoch_cosine(teacher.rate, teacher.steps, per_epoch), 0.0)


def teacher_step(
  recipe: Recipe,
  nets: Nets,
  per_epoch: int,
  state: State,
  batch: Mapping[str, jax.Array],
  t: jax.Array,
) -> tuple[State, Metrics]:
  """Trains the dense generator and the discriminator, least squares on patches as CycleGAN has it.

  The generator minimises teacher.gan times the adversarial loss, plus teacher.l1 |G(x) - y| where pairs exist
  and teacher.content |G(x) - x| where not; the discriminator's real pictures are y. State:
  `params`, `tx`, `pool` and `key` as in `slim_step`; batch: `image` and `target`.
  """
  settings, paired = recipe.teacher, recipe.data.style in ("cartoon", "pairs")
  x, y = to_floats(batch["image"]), to_floats(batch["target"])
  params = state["params"]

  def loss(generator: Any) -> tuple[jax.Array, Any]:
    fake = nets.teacher.apply({"params": generator}, x).astype(jnp.float32)
    distance = absolute_distance(fake, y if paired else x)
    total = (settings.l1 if paired else settings.content) * distance
    values = {"l1" if paired else "content": distance}
    if settings.gan:
      scores = nets.discriminator.apply({"params": params["discriminator"]}, fake)
      values["gan"] = generator_loss(scores)
      total = total + settings.gan * values["gan"]
    return total, (fake, {"loss": total, **values})

  (_, (fake, values)), grads = jax.value_and_grad(loss, has_aux=True)(params["generator"])
  optimizer = teacher_optimizer(settings, per_epoch)
  updates, tx = optimizer.update(grads, state["tx"]["generator"], params["generator"])
  new = {
    **state,
    "params": {**params, "generator": optax.apply_updates(params["generator"], updates)},
    "tx": {**state["tx"], "generator": tx},
  }
  if settings.gan:
    key = jax.random.fold_in(state["key"], t)
    new, values["discriminator"] = _discriminator_step(
      nets, optimizer, new, y, fake, key, unit="places", kind="least_squares"
    )
  return new, {name: metrics.once(value) for name, value in values.items()}
