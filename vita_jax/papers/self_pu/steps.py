"""The training step of Self-PU: every method of the ladder is a choice of its blocks.

The students' parameters, statistics and optimizer states are stacked on a leading axis, and a step is one
batch of each. `t` decides whether it is a batch of the trusted sets or of labelled and unlabelled rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics
from vita_jax.data import pu_batches
from vita_jax.data.rows import gather
from vita_jax.losses import pu
from vita_jax.optim.ema import ema_update
from vita_jax.optim.ramps import cosine_rate
from vita_jax.papers.self_pu import losses
from vita_jax.papers.self_pu.calibrate import calibration_weights, meta_gradient
from vita_jax.papers.self_pu.choose import JUDGED, first_epoch, judge
from vita_jax.papers.self_pu.model import Network
from vita_jax.papers.self_pu.recipe import Recipe
from vita_jax.papers.self_pu.selection import POSITIVE
from vita_jax.train.experiment import State

METRICS = ("loss", "risk", "negative_risk", "clipped", "trusted_loss", "entropy_weight", "consistency")


class Blocks(NamedTuple):
  """What a step is made of: static, so that phases with the same blocks share one compiled step."""

  trusted: bool
  calibrates: bool
  distils: bool
  judges: bool


class Setup(NamedTuple):
  """What is fixed while a step is traced."""

  recipe: Recipe
  network: Network
  tx: optax.GradientTransformation
  blocks: Blocks

  @property
  def has_teachers(self) -> bool:
    """Whether averages of the students take part."""
    return self.blocks.distils and self.recipe.distillation.teachers

  @property
  def has_other(self) -> bool:
    """Whether a student sees the other one."""
    return self.blocks.distils and self.recipe.distillation.students and self.recipe.students > 1


class Place(NamedTuple):
  """A batch to be computed: number `number` of its kind in `epoch`; `rows`: the training table whole."""

  state: State
  rows: Any
  slot: jax.Array
  epoch: jax.Array
  number: jax.Array


class Student(NamedTuple):
  """What a batch of a student is computed from; `teacher`, `other`: (parameters, statistics) or None."""

  number: jax.Array
  params: Any
  stats: Any
  teacher: Any
  other: Any
  trusted: Any
  phase: Any  # interleave, side, prior


class Forward(NamedTuple):
  """A forward pass: logits [n], the pullback of their cotangents to gradients, and new statistics."""

  logits: jax.Array
  pullback: Callable
  stats: Any


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
  """Builds Adam with the L2 term inside the gradient, as torch's; the rate is applied apart."""
  return optax.chain(optax.add_decayed_weights(recipe.weight_decay), optax.scale_by_adam())


def make_step(recipe: Recipe, network: Network, blocks: Blocks) -> Callable:
  """Builds `step(state, batch, t) -> (state, metrics)` for phases with the given blocks.

  The batch holds `slot` int32 [n] (0 .. n-1, laid out over the mesh by the loop: all of a batch
  follows), `rows` (the training table whole: `x`, `positive`) and `phase` (see `schedule.phase_numbers`).
  """
  return partial(train_step, Setup(recipe, network, optimizer(recipe), blocks))


def train_step(setup: Setup, state: State, batch: Any, t: jax.Array) -> tuple[State, Any]:
  """Computes one batch of every student, updates them, and averages and judges where that is due."""
  recipe, phase = setup.recipe, batch["phase"]
  at, epoch = t % phase["steps"], phase["first_epoch"] + t // phase["steps"]
  rate = cosine_rate(
    epoch, peak=recipe.learning_rate, epochs=recipe.epochs, ahead="rate_ahead" in recipe.released
  )
  place = Place(state, batch["rows"], batch["slot"], epoch, at)
  after = place._replace(number=at - phase["trusted_steps"])
  on_pu = partial(_batch_of_each, setup, pu_batch, after, phase, phase["own_pu_steps"])
  if setup.blocks.trusted:
    on_trusted = partial(_batch_of_each, setup, trusted_batch, place, phase, phase["own_trusted_steps"])
    (grads, stats, values), active = jax.lax.cond(at < phase["trusted_steps"], on_trusted, on_pu)
  else:
    (grads, stats, values), active = on_pu()
  state = _descend(setup, state, grads, stats, active, rate)
  last = at == phase["steps"] - 1
  if setup.has_teachers:
    due = last | (at == phase["trusted_steps"] - 1) | (recipe.distillation.ema_every == "step")
    state = _average(state, due, decay=recipe.distillation.ema_decay)
  if setup.blocks.judges:
    due = last & (epoch >= first_epoch(recipe))
    judged = partial(judge, recipe, setup.network, state, batch["rows"], batch["slot"].shape[0])
    state = {**state, **jax.lax.cond(due, judged, lambda: {name: state[name] for name in JUDGED})}
  return state, {k: tuple(jnp.sum(jnp.where(active, x, 0.0)) for x in pair) for k, pair in values.items()}


def _batch_of_each(
  setup: Setup, kind: Callable, place: Place, phase: Any, own_steps: jax.Array
) -> tuple[Any, jax.Array]:
  """Computes (gradients, statistics, metrics), each [students], of a batch of each, and who takes part."""
  one, students = partial(kind, setup, place), _students(setup, place.state, phase)
  if setup.recipe.students > 1:
    found = jax.vmap(one)(students)
  else:  # without batched products, which are slower on a CPU
    found = jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], students)))
  return found, place.number < own_steps


def _students(setup: Setup, state: State, phase: Any) -> Student:
  """Returns all students, stacked on a leading axis."""
  own = state["params"], state["batch_stats"]
  teachers = state["teachers"] if setup.has_teachers else None
  return Student(
    number=jnp.arange(setup.recipe.students),
    params=own[0],
    stats=own[1],
    teacher=(teachers["params"], teachers["batch_stats"]) if teachers else None,
    other=jax.tree.map(lambda x: x[::-1], own) if setup.has_other else None,
    trusted=state["trusted"] if setup.blocks.trusted else None,
    phase={name: phase[name] for name in ("interleave", "side", "prior")},
  )


def trusted_batch(setup: Setup, place: Place, student: Student) -> tuple[Any, Any, Any]:
  """Computes (gradients, statistics, metrics) of a batch of one student's trusted set."""
  state, own = place.state, student.trusted
  draw = pu_batches.draw_trusted(
    place.number * place.slot.shape[0] + place.slot,
    epoch=place.epoch,
    order=state["order"],
    student=student.number,
    unlabelled_rows=state["unlabelled"],
    trusted_order=own.order,
    n_trusted=2 * student.phase["side"],
  )
  x = gather(place.rows["x"], draw.row)
  hard = (own.side == POSITIVE).astype(jnp.float32)
  targets = {"entropy": None, "stored": own.probability, "hard": hard}[setup.recipe.self_paced.soft_target]
  targets = None if targets is None else targets[draw.item]
  loss = partial(_trusted_loss, setup.recipe, place.epoch, targets, draw.mask)
  return _gradients(setup, student, x, draw.mask, _forward(setup, student, x, draw.mask), loss)


def pu_batch(setup: Setup, place: Place, student: Student) -> tuple[Any, Any, Any]:
  """Computes (gradients, statistics, metrics) of a batch of labelled and unlabelled rows of one student."""
  state, recipe, blocks = place.state, setup.recipe, setup.blocks
  positions = place.number * place.slot.shape[0] + place.slot
  draw = pu_batches.draw_pu(
    positions,
    epoch=place.epoch,
    order=state["order"],
    student=student.number,
    labelled_rows=state["labelled"],
    unlabelled_rows=state["unlabelled"],
    interleave=student.phase["interleave"],
    trusted_order=student.trusted.order if blocks.trusted else None,
    n_trusted=2 * student.phase["side"],
    shuffled=(place.epoch > 0) if "sorted_first_epoch" in recipe.released else True,
  )
  x = gather(place.rows["x"], draw.row)
  other = setup.network.forward(*student.other, x)[0] if setup.has_other else None
  weights = None
  if blocks.calibrates:
    rows = pu_batches.draw_validation(
      positions, epoch=place.epoch, order=state["order"], student=student.number, rows=state["validation"]
    )
    found, weights = _calibrated(setup, student, x, draw.labelled, gather(place.rows, rows))
  else:
    found = _forward(setup, student, x)
  positive = place.rows["positive"][draw.row] > 0
  loss = partial(
    _pu_loss, recipe, place.epoch, student.phase["prior"], draw.labelled, positive, weights, other
  )
  return _gradients(setup, student, x, None, found, loss)


def _trusted_loss(
  recipe: Recipe,
  epoch: jax.Array,
  targets: jax.Array | None,
  mask: jax.Array,
  logits: jax.Array,
  teacher: jax.Array | None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Computes (loss, metrics) of trusted rows; `targets` None is the row's own probability."""
  each = pu.binary_entropy(logits) if targets is None else pu.binary_cross_entropy(logits, targets)
  mean = jnp.sum(mask * each) / jnp.maximum(jnp.sum(mask), 1.0)
  return losses.follow(recipe, epoch, mean, {"trusted_loss": mean}, logits, teacher, mask)


def _pu_loss(
  recipe: Recipe,
  epoch: jax.Array,
  prior: jax.Array,
  labelled: jax.Array,
  positive: jax.Array,
  weights: tuple[jax.Array, jax.Array] | None,
  other: jax.Array | None,
  logits: jax.Array,
  teacher: jax.Array | None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Computes (loss, metrics) of labelled and unlabelled rows; `weights`: (entropy, PU) of calibration."""
  pu_weights = None if weights is None else weights[1]
  risk = pu.pu_risk(logits, labelled, prior=prior, weights=pu_weights, balance=recipe.risk.balance)
  total = losses.row_objective(recipe.risk, risk, logits, labelled, positive)
  values = {"risk": risk.total, "negative_risk": risk.negative}
  values["clipped"] = (risk.negative < -recipe.risk.beta).astype(jnp.float32)
  if weights is not None:
    total += jnp.mean(weights[0] * pu.binary_entropy(logits))
    values["entropy_weight"] = jnp.mean(weights[0])
  if other is not None:
    mutual = partial(losses.mutual_loss, mining=recipe.distillation.mining, alpha=recipe.distillation.alpha)
    nnpu = risk.positive + jnp.maximum(risk.negative, -recipe.risk.beta)
    total += mutual(logits, other, labelled, prior=prior, nnpu=nnpu)
  return losses.follow(recipe, epoch, total, values, logits, teacher, None)


def _forward(setup: Setup, student: Student, x: Any, mask: jax.Array | None = None) -> Forward:
  """Applies a student in training mode to a batch."""
  forward = partial(setup.network.forward, stats=student.stats, x=x, mask=mask)
  return Forward(*jax.vjp(forward, student.params, has_aux=True))


def _calibrated(
  setup: Setup, student: Student, x: Any, labelled: jax.Array, clean: Any
) -> tuple[Forward, tuple[jax.Array, jax.Array]]:
  """`_forward`, and the weights (entropy, PU) of the rows: one linearisation serves both."""
  recipe = setup.recipe
  forward = partial(setup.network.forward, stats=student.stats, x=x)
  logits, derivative, stats = jax.linearize(forward, student.params, has_aux=True)
  along = derivative(jax.grad(partial(_validation_loss, setup, student.stats, clean))(student.params))
  u = meta_gradient(
    logits,
    along,
    labelled,
    prior=student.phase["prior"],
    balance=recipe.risk.balance,
    rate=recipe.calibration.rate,
    flipped_entropy="flipped_entropy" in recipe.released,
  )
  total = (student.number == 0) if "budget_total" in recipe.released else False
  weights = calibration_weights(*u, labelled, budget=recipe.calibration.budget, budget_total=total)
  return Forward(logits, jax.linear_transpose(derivative, student.params), stats), weights


def _validation_loss(setup: Setup, stats: Any, clean: Any, params: Any) -> jax.Array:
  """Computes what calibration wants lower: cross-entropy with the true classes, or entropy."""
  logits, _ = setup.network.forward(params, stats, clean["x"])
  if setup.recipe.calibration.meta == "entropy":
    return jnp.mean(pu.binary_entropy(logits))
  return jnp.mean(pu.binary_cross_entropy(logits, (clean["positive"] > 0).astype(jnp.float32)))


def _gradients(
  setup: Setup, student: Student, x: Any, mask: jax.Array | None, found: Forward, loss: Callable
) -> tuple[Any, Any, Any]:
  """Computes gradients; `loss(logits, teacher's logits) -> (scalar, values)` sees the logits alone."""
  new, teacher = {"student": found.stats}, None
  if student.teacher is not None:
    teacher, new["teacher"] = setup.network.forward(*student.teacher, x, mask)
  (value, values), slope = jax.value_and_grad(loss, has_aux=True)(found.logits, teacher)
  (grads,) = found.pullback(slope)
  absent = {name: (jnp.zeros(()), jnp.zeros(())) for name in METRICS}  # weight 0: not computed
  return grads, new, absent | {k: metrics.once(v) for k, v in {"loss": value, **values}.items()}


def _descend(setup: Setup, state: State, grads: Any, stats: Any, active: jax.Array, rate: jax.Array) -> State:
  """Updates the students that are active; the others rest."""
  updates, tx_state = jax.vmap(setup.tx.update)(grads, state["tx"], state["params"])
  params = jax.tree.map(lambda p, u: p - rate * u, state["params"], updates)
  new = {"params": params, "batch_stats": stats["student"], "tx": tx_state}
  if setup.has_teachers:
    new["teachers"] = {**state["teachers"], "batch_stats": stats["teacher"]}
  old = {name: state[name] for name in new}
  chosen = jax.vmap(lambda on, x, y: jax.tree.map(partial(jnp.where, on), x, y))(active, new, old)
  return {**state, **chosen}


def _average(state: State, due: jax.Array, *, decay: float) -> State:
  """Returns the state with the teachers after an update of their averages, where one is due."""
  teachers, count = state["teachers"], state["teacher_updates"]
  update = partial(ema_update, teachers["params"], state["params"], count, max_decay=decay)
  params = jax.lax.cond(due, update, lambda: teachers["params"])
  return {**state, "teachers": {**teachers, "params": params}, "teacher_updates": count + due}
