"""The training step of Self-PU: every method of the ladder is a choice of its blocks.

The students' parameters, statistics and optimizer states are stacked on a leading axis, and a step is one
batch of each. `t` decides whether it is a batch of the trusted sets or of labelled and unlabelled rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.losses import pu
from vita_jax.optim.ema import ema_update
from vita_jax.papers.self_pu import distil, sampling
from vita_jax.papers.self_pu.calibrate import calibration_weights, meta_gradient
from vita_jax.papers.self_pu.choose import JUDGED, first_epoch, judge
from vita_jax.papers.self_pu.network import Network, gather
from vita_jax.papers.self_pu.schedule import learning_rate, ramp_up
from vita_jax.papers.self_pu.selection import POSITIVE
from vita_jax.train.experiment import State

RISKS = ("oracle", "naive", "upu", "nnpu")
SOFT_TARGETS = ("entropy", "stored", "hard")
METRICS = ("loss", "risk", "negative_risk", "clipped", "trusted_loss", "entropy_weight", "consistency")


class Blocks(NamedTuple):
  """What a step is made of: static, so that phases with the same blocks share one compiled step."""

  trusted: bool
  calibrates: bool
  distils: bool
  judges: bool


class Student(NamedTuple):
  """What a batch of a student is computed from; `teacher`, `other`: (parameters, statistics) or None."""

  number: jax.Array
  params: Any
  stats: Any
  teacher: Any
  other: Any
  trusted: Any
  phase: Any  # interleave, side, prior


def each_student(fn: Callable, students: Student) -> Any:
  """`fn` of every student; of a single one without batched products, which are slower on a CPU."""
  if students.number.size > 1:
    return jax.vmap(fn)(students)
  return jax.tree.map(lambda x: x[None], fn(jax.tree.map(lambda x: x[0], students)))


def optimizer(config: Any) -> optax.GradientTransformation:
  """Adam with the L2 term inside the gradient, for all parameters, as torch's; the rate is applied apart."""
  return optax.chain(optax.add_decayed_weights(config.weight_decay), optax.scale_by_adam())


def make_step(config: Any, network: Network, blocks: Blocks) -> Callable:
  """Builds `step(state, batch, t) -> (state, metrics)` for phases with the given blocks.

  The batch holds `slot` int32 [n] (0 .. n-1, laid out over the mesh by the loop: all of a batch
  follows), `rows` (the training table whole: `x`, `positive`) and `phase` (see `schedule.phase_numbers`).
  """
  tx, released, balance = optimizer(config), config.released, config.risk.balance or None
  has_teachers = blocks.distils and config.distillation.teachers
  has_other = blocks.distils and config.distillation.students and len(config.self_paced.paces) > 1

  def step(state: State, batch, t):
    phase, at = batch["phase"], t % batch["phase"]["steps"]
    epoch = phase["first_epoch"] + t // phase["steps"]
    rate = learning_rate(epoch, peak=config.learning_rate, epochs=config.epochs, ahead=released.rate_ahead)

    def one_batch(kind, number, own_steps):
      """A batch of every student: (gradients, statistics, metrics), each [students], and who takes part."""
      one = lambda student: kind(state, batch, epoch, number, student)  # noqa: E731
      return each_student(one, students(state, phase)), number < own_steps

    on_pu = lambda: one_batch(pu_batch, at - phase["trusted_steps"], phase["own_pu_steps"])  # noqa: E731
    if blocks.trusted:
      on_trusted = lambda: one_batch(trusted_batch, at, phase["own_trusted_steps"])  # noqa: E731
      (grads, stats, metrics), active = jax.lax.cond(at < phase["trusted_steps"], on_trusted, on_pu)
    else:
      (grads, stats, metrics), active = on_pu()
    state = descend(state, grads, stats, active, rate)
    last = at == phase["steps"] - 1
    if has_teachers:
      due = last | (at == phase["trusted_steps"] - 1) | (config.distillation.ema_every == "step")
      state = averaged(state, due)
    if blocks.judges:
      due = last & (epoch >= first_epoch(config))
      judged = lambda: judge(config, network, state, batch["rows"], batch["slot"].shape[0])  # noqa: E731
      state = {**state, **jax.lax.cond(due, judged, lambda: {name: state[name] for name in JUDGED})}
    return state, {k: tuple(jnp.sum(jnp.where(active, x, 0.0)) for x in pair) for k, pair in metrics.items()}

  def students(state, phase):
    network_of = lambda tree: (tree["params"], tree["batch_stats"])  # noqa: E731
    n = len(config.self_paced.paces)
    return Student(
      number=jnp.arange(n),
      params=state["params"],
      stats=state["batch_stats"],
      teacher=network_of(state["teachers"]) if has_teachers else None,
      other=jax.tree.map(lambda x: x[::-1], network_of(state)) if has_other else None,
      trusted=state["trusted"] if blocks.trusted else None,
      phase={name: phase[name] for name in ("interleave", "side", "prior")},
    )

  def trusted_batch(state, batch, epoch, number, student):
    draw = sampling.draw_trusted(
      number * batch["slot"].shape[0] + batch["slot"],
      epoch=epoch,
      order=state["order"],
      student=student.number,
      unlabelled_rows=state["unlabelled"],
      trusted_order=student.trusted.order,
      n_trusted=2 * student.phase["side"],
    )
    x, own = gather(batch["rows"]["x"], draw.row), student.trusted
    hard = (own.side == POSITIVE).astype(jnp.float32)
    targets = {"entropy": None, "stored": own.probability, "hard": hard}[config.self_paced.soft_target]

    def loss(logits, teacher):
      if targets is None:
        losses = pu.binary_entropy(logits)
      else:
        losses = pu.binary_cross_entropy(logits, targets[draw.item])
      mean = jnp.sum(draw.mask * losses) / jnp.maximum(jnp.sum(draw.mask), 1.0)
      return follow(mean, {"trusted_loss": mean}, logits, teacher, draw.mask, epoch)

    logits, pullback, stats = forward_pass(student, x, draw.mask)
    return finish(student, x, draw.mask, logits, pullback, stats, loss)

  def pu_batch(state, batch, epoch, number, student):
    place = number * batch["slot"].shape[0] + batch["slot"]
    draw = sampling.draw_pu(
      place,
      epoch=epoch,
      order=state["order"],
      student=student.number,
      labelled_rows=state["labelled"],
      unlabelled_rows=state["unlabelled"],
      interleave=student.phase["interleave"],
      trusted_order=student.trusted.order if blocks.trusted else None,
      n_trusted=2 * student.phase["side"],
      shuffled=(epoch > 0) if released.sorted_first_epoch else True,
    )
    x, prior = gather(batch["rows"]["x"], draw.row), student.phase["prior"]
    other = network.forward(*student.other, x)[0] if has_other else None
    entropy_weights = pu_weights = None
    if blocks.calibrates:
      rows = sampling.draw_validation(
        place, epoch=epoch, order=state["order"], student=student.number, rows=state["validation"]
      )
      clean = gather(batch["rows"], rows)
      logits, pullback, stats, (entropy_weights, pu_weights) = calibrated_pass(
        student, x, draw.labelled, clean
      )
    else:
      logits, pullback, stats = forward_pass(student, x)

    def loss(logits, teacher):
      risk = pu.pu_risk(logits, draw.labelled, prior=prior, weights=pu_weights, balance=balance)
      total = objective(logits, draw.labelled, batch["rows"]["positive"][draw.row] > 0, risk)
      values = {"risk": sum(risk), "negative_risk": risk.negative}
      values["clipped"] = (risk.negative < -config.risk.beta).astype(jnp.float32)
      if entropy_weights is not None:
        total += jnp.mean(entropy_weights * pu.binary_entropy(logits))
        values["entropy_weight"] = jnp.mean(entropy_weights)
      if other is not None:
        options = {"mining": config.distillation.mining, "alpha": config.distillation.alpha}
        nnpu = risk.positive + jnp.maximum(risk.negative, -config.risk.beta)
        total += distil.mutual_loss(logits, other, draw.labelled, prior=prior, nnpu=nnpu, **options)
      return follow(total, values, logits, teacher, None, epoch)

    return finish(student, x, None, logits, pullback, stats, loss)

  def objective(logits, labelled, positive, risk):
    """What the rows of a batch are trained on, without distillation and entropy."""
    kind = config.risk.kind
    if kind == "oracle":  # the true labels of the unlabelled rows: the bound that no PU method has
      losses = pu.binary_cross_entropy(logits, positive.astype(jnp.float32))
      return jnp.sum(jnp.where(labelled, 0.0, losses)) / jnp.maximum(jnp.sum(~labelled), 1)
    if kind == "naive":
      return pu.naive_risk(logits, labelled)
    return (
      sum(risk)
      if kind == "upu"
      else pu.nnpu_objective_of(risk, beta=config.risk.beta, gamma=config.risk.gamma)
    )

  def follow(total, values, logits, teacher, mask, epoch):
    """Adds the consistency with the teacher, ramped up over the epochs."""
    if teacher is None:
      return total, values
    settings = config.distillation
    ramp = ramp_up(epoch, peak=settings.consistency, length=settings.ramp_length, shift=settings.ramp_shift)
    loss = distil.consistency_loss(logits, teacher, mask, softmax=released.consistency_softmax)
    return total + ramp * loss, {**values, "consistency": loss}

  def forward_pass(student, x, mask=None):
    """(logits [n], pullback from their cotangents to gradients, new statistics)."""
    return jax.vjp(lambda p: network.forward(p, student.stats, x, mask), student.params, has_aux=True)

  def calibrated_pass(student, x, labelled, clean):
    """`forward_pass` and the weights (entropy, PU) of the rows: one linearisation serves both."""

    def validation_loss(params):
      logits, _ = network.forward(params, student.stats, clean["x"])
      if config.calibration.meta == "entropy":
        return jnp.mean(pu.binary_entropy(logits))
      return jnp.mean(pu.binary_cross_entropy(logits, (clean["positive"] > 0).astype(jnp.float32)))

    forward = lambda p: network.forward(p, student.stats, x, None)  # noqa: E731
    logits, derivative, stats = jax.linearize(forward, student.params, has_aux=True)
    along = derivative(jax.grad(validation_loss)(student.params))
    u = meta_gradient(
      logits,
      along,
      labelled,
      prior=student.phase["prior"],
      balance=balance,
      rate=config.calibration.rate,
      flipped_entropy=released.flipped_entropy,
    )
    total = (student.number == 0) if released.budget_total else False
    weights = calibration_weights(*u, labelled, budget=config.calibration.budget, budget_total=total)
    return logits, jax.linear_transpose(derivative, student.params), stats, weights

  def finish(student, x, mask, logits, pullback, stats, loss):
    """Gradients by `loss(logits, teacher's logits) -> (scalar, values)`, which sees the logits alone."""
    new, teacher = {"student": stats}, None
    if student.teacher is not None:
      teacher, new["teacher"] = network.forward(*student.teacher, x, mask)
    (value, values), slope = jax.value_and_grad(loss, has_aux=True)(logits, teacher)
    (grads,) = pullback(slope)
    absent = {name: (jnp.zeros(()), jnp.zeros(())) for name in METRICS}  # weight 0: not computed
    return grads, new, absent | {k: (v, jnp.ones(())) for k, v in {"loss": value, **values}.items()}

  def descend(state, grads, stats, active, rate):
    """One update of the students that are active; the others rest."""
    updates, tx_state = jax.vmap(tx.update)(grads, state["tx"], state["params"])
    params = jax.tree.map(lambda p, u: p - rate * u, state["params"], updates)
    new = {"params": params, "batch_stats": stats["student"], "tx": tx_state}
    if has_teachers:
      new["teachers"] = {**state["teachers"], "batch_stats": stats["teacher"]}
    where = lambda x, y: jnp.where(active.reshape(-1, *[1] * (x.ndim - 1)), x, y)  # noqa: E731
    return {**state, **jax.tree.map(where, new, {name: state[name] for name in new})}

  def averaged(state, due):
    """The teachers after the update of their averages, where one is due."""
    teachers, count = state["teachers"], state["teacher_updates"]
    decay = config.distillation.ema_decay
    update = lambda: ema_update(teachers["params"], state["params"], count, max_decay=decay)  # noqa: E731
    params = jax.lax.cond(due, update, lambda: teachers["params"])
    return {**state, "teachers": {**teachers, "params": params}, "teacher_updates": count + due}

  return step
