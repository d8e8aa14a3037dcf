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
  layer_bytes,
  live_bytes,
  live_macs,
  pruned_share,
  spare_last,
  steer_rho,
  zero_shifts,
)
from vita_jax.data.image_pool import ImagePool, push_and_sample
from vita_jax.losses.distil import absolute_distance
from vita_jax.losses.gan import discriminator_loss, generator_loss
from vita_jax.nn.features import FeatureNet
from vita_jax.optim import epoch_cosine, torch_adam
from vita_jax.papers.gan_slimming.data import to_floats
from vita_jax.papers.gan_slimming.losses import teacher_distance
from vita_jax.papers.gan_slimming.model import Nets, stored, variables_of
from vita_jax.papers.gan_slimming.recipe import Objective, Phase, Recipe, Teacher
from vita_jax.train.experiment import Metrics, State

BETAS = (0.5, 0.999)
GAIN, PAUSED = 0.02, 0.1  # how fast rho is steered; what is left of it below the plan


def student_optimizers(
  nets: Nets, params: Any, objective: Objective, phase: Phase, per_epoch: int
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
  """Makes the optimizers of the student and of the discriminator.

  Slimming: ISTA on the scales of the graph, coupled Adam on all else. Fine-tuning: coupled Adam on all.
  """

  rates = (phase.rate, phase.discriminator_rate, phase.gate_rate)
  rate, discriminator_rate, gate_rate = (epoch_cosine(x, phase.steps, per_epoch) for x in rates)
  weights = torch_adam(rate, betas=BETAS, weight_decay=objective.decay)
  discriminator = torch_adam(discriminator_rate, betas=BETAS, weight_decay=objective.decay)
  if phase.fixed:
    return weights, discriminator
  gates = ista(gate_rate, phase.rho, objective.momentum)
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
    shares, excess = steered_shares(recipe, nets, params["generator"], t)
    # A pruned channel hardly comes back (the gradient of ReLU at 0 is 0): so none is pruned before
    # the plan requires it. Not 0, with which the rest of the momentum would make every zero a tiny number.
    more = {"rho": jnp.where(excess > 1.0, 1.0, PAUSED) * state["rho"]}
    new["rho"] = steer_rho(state["rho"], excess, 1.0, gain=GAIN)
    values |= {**shares, "rho": more["rho"]}
  updates, tx = optimizers[0].update(grads, state["tx"]["generator"], params["generator"], **more)
  generator = optax.apply_updates(params["generator"], updates)
  if not phase.fixed:
    generator = zero_shifts(spare_last(generator, params["generator"], nets.graph), nets.graph)
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


def steered_shares(
  recipe: Recipe, nets: Nets, generator: Any, t: jax.Array
) -> tuple[dict[str, jax.Array], jax.Array]:
  """Computes what the channels whose scale is not 0 cost, and how far that is above the plan of rho.

  Returns:
    `macs_share` and `bytes_share` of the dense float32 teacher's, where they have a budget; and the largest
    share / planned of them.
  """
  side, layers, found, excess = 64, nets.student.layers, {}, []  # shares of macs are the same for every size
  if recipe.budget.macs:
    found["macs"] = live_macs(generator, nets.graph, layers, side, side), count_macs(layers, side, side)
  if recipe.budget.bytes:
    options = stored(recipe)
    found["bytes"] = live_bytes(generator, nets.graph, layers, **options), layer_bytes(layers, **options)
  teacher = {"macs": count_macs(nets.teacher.layers, side, side), "bytes": layer_bytes(nets.teacher.layers)}
  for name, (left, whole) in found.items():
    first, last = whole / teacher[name], getattr(recipe.budget, name)
    excess.append(left / teacher[name] / planned_share(recipe.slim.steps, t, first=first, last=last))
  shares = {f"{name}_share": left / teacher[name] for name, (left, _) in found.items()}
  return shares, jnp.max(jnp.stack(excess))


def planned_share(steps: int, t: jax.Array, *, first: float, last: float) -> jax.Array:
  """Computes what rho is steered to: a line from `first` to `last` in 2/3 of the steps, then that."""
  done = jnp.minimum(t / max(2 * steps / 3, 1.0), 1.0)
  return first + (last - first) * done


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
  return torch_adam(epoch_cosine(teacher.rate, teacher.steps, per_epoch), betas=BETAS)


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
