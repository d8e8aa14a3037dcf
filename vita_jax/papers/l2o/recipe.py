"""Every key of an L2O config with its default, rule and meaning; and the settings, resolved."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections
import optax

from vita_jax.base import keys
from vita_jax.base.choose import choose
from vita_jax.base.keys import (
  Key,
  Rule,
  above,
  any_path,
  at_least,
  between,
  boolean,
  defaults,
  each,
  flat,
  one_of,
  text,
)
from vita_jax.optim import KINDS
from vita_jax.optim.by_name import SCHEDULES
from vita_jax.optim.leaves import COUNT, OPTIONS
from vita_jax.optim.library import options_of
from vita_jax.optim.optimizees import OPTIMIZEES, WINDOW, check_optimizee, optimizee
from vita_jax.optim.teachers import TEACHERS, teacher
from vita_jax.papers.l2o import curriculum, tasks
from vita_jax.train import config as train_config

STAGES = (100, 200, 500, 1000, 1500, 2000, 2500, 3000)
# variant -> (lengths of an optimization, share of imitation epochs per stage)
VARIANTS = {
  "plain": ((100,), (0.0,)),
  "aug": ((500,), (0.0,)),
  "cl": (STAGES, (0.0,)),
  "il": ((100,), (0.3,)),
  "cl_il": (STAGES, (0.3,)),
}


_COUNTS = each("whole numbers, at least 1", COUNT.holds, least=1)
_SHARES = each("numbers from 0 to 1, at least one", between(0, 1).holds, least=1)
_SHA256 = Rule("64 hexadecimal digits, or empty", lambda v: bool(re.fullmatch("([0-9a-f]{64})?", v)))
_MIXTURE = each(
  "names in OPTIMIZEES, each with a weight after a colon or without", lambda v: _weighted(v)[1] > 0
)


def _weighted(text: str) -> tuple[str, float]:
  """Reads "name" or "name:weight"; the weight is 1 without one."""
  name, _, weight = text.rpartition(":")
  try:
    return (name, float(weight)) if name else (text, 1.0)
  except ValueError:  # module:function
    return text, 1.0


def _is_teacher(text: str) -> bool:
  name, colon, rate = text.partition(":")
  try:
    return name in TEACHERS and (not colon or float(rate) > 0)
  except ValueError:
    return False


# An optimizee is looked up when it is built, so that a user may add one to OPTIMIZEES.
KEYS = (
  Key("experiment", "meta_train", one_of("meta_train", "optimize"), "Train an optimizer, or use one once."),
  Key(
    "optimizee.name",
    "mnist_mlp",
    text("a name in OPTIMIZEES"),
    f"Problem that is optimized: {', '.join(OPTIMIZEES)}.",
  ),
  Key("optimizee.batch_size", 128, at_least(1), "Images in a minibatch, drawn afresh at each step."),
  Key("optimizee.logit_relu", False, boolean, "End convolutional networks in a ReLU, as released."),
  # Of meta-training.
  Key("variant", "plain", one_of(*VARIANTS), "The technique; give it as the config's argument."),
  Key(
    "optimizer.kind",
    "l2o_dm",
    text("a name in KINDS"),
    f"Learned optimizer that is trained: {', '.join(KINDS)}.",
  ),
  Key("optimizer.scale", 0.0, at_least(0), "Scale of its output; 0: its builder's own."),
  Key("optimizer.odd", False, boolean, "Take (m(g) - m(-g)) / 2, so that nothing moves without gradient."),
  Key("unroll_length", 20, at_least(1), "Steps that a meta-gradient goes back through, T."),
  Key("stages", (100,), _COUNTS, "Steps of an optimization, N, in each stage."),
  Key("imitation.ratio", (0.0,), _SHARES, "Imitation epochs, per stage."),
  Key(
    "imitation.teachers",
    ("adam",),
    each(f"names among {', '.join(TEACHERS)}, also as adam:0.003, at least one", _is_teacher, least=1),
    "Optimizers that are imitated in turn; one may have a rate of its own: adam:0.003.",
  ),
  Key("imitation.learning_rate", 0.01, above(0), "Learning rate of the teachers without one."),
  Key("imitation.steps", 1, at_least(1), "Steps of the teacher that one step of the student imitates."),
  Key("validation.every", 10, at_least(1), "Epochs between validations, E."),
  Key("validation.runs", 4, at_least(1), "Optimizations of each problem in a validation, R."),
  Key("validation.draws", "fixed", one_of("fresh", "fixed"), "Start and minibatches of validations."),
  Key("patience", "stop", one_of(*curriculum.PATIENCE), "What follows a stage that never improved."),
  Key("inner_steps", 0, at_least(0), "Budget of steps of the optimizee; 0: none."),
  Key("epochs", 10_000, at_least(1), "Optimizations to train on, at most."),
  Key("meta.optimizer", "adam", one_of("adam", "rmsprop"), "Optimizer of theta."),
  Key("meta.learning_rate", 1e-3, above(0), "Its learning rate."),
  Key("meta.schedule", "constant", one_of(*SCHEDULES), "Factor of it over the budget of inner steps."),
  Key("meta.clip_norm", 0.0, at_least(0), "Largest norm of a meta-gradient; 0: any."),
  Key("meta.clip_each", 0.0, at_least(0), "Largest norm of that of one optimization of several; 0: any."),
  Key("meta.clip_value", 0.0, at_least(0), "Largest entry of a meta-gradient; 0: any."),
  Key("meta.gradient", "truncated", one_of("truncated", "pes"), "Meta-gradient: of T steps, or PES."),
  Key("meta.sigma", 0.01, above(0), "Deviation of the perturbations of theta in PES."),
  Key(
    "mixture.tasks", (), _MIXTURE, "Problems to train on, e.g. digits_mlp, quadratic:0.5; empty: optimizee."
  ),
  Key("mixture.held_out", (), _MIXTURE, "Problems to validate on; empty: those that are trained on."),
  Key(
    "mixture.reparametrise", 1.0, at_least(1), "Largest factor, and 1 over it the smallest, of each tensor."
  ),
  Key("mixture.shortest", 0, at_least(0), "Least steps of an optimization, log-uniform to N; 0: always N."),
  Key("mixture.staggered", False, boolean, "Optimizations of a meta-batch begin one after the other."),
  Key(
    "mixture.schedule", "constant", one_of(*SCHEDULES), "Factor of the updates over an optimization's steps."
  ),
  Key("meta_loss", "sum", one_of("sum", "log_ratio"), "Loss of a segment of T steps."),
  Key("meta_batch", 1, at_least(1), "Optimizations at once; their meta-gradients are averaged."),
  Key("tasks", "map", one_of("map", "vmap"), "Those one after the other, or side by side."),
  Key("save_every", 1, at_least(1), "Steps between states kept for the pass back; more saves memory."),
  Key("resume_from", "", any_path, "File of launch/l2o/state.py to continue from; empty: none."),
  Key("final.steps", 1000, at_least(1), "Steps of each optimization after training."),
  Key("final.runs", 5, at_least(1), "How many there are, with the best weights."),
  # Of one optimization with an optimizer that exists.
  Key(
    "run.optimizer",
    "adam",
    text("a name or a path"),
    "A shipped name, a classical name, untrained-KIND or a folder.",
  ),
  Key("run.learning_rate", 0.01, at_least(0), "Learning rate of a classical optimizer; 0: of a learned one."),
  Key("run.schedule", "constant", one_of(*SCHEDULES), "Factor of the rate over the steps."),
  Key("run.sha256", "", _SHA256, "Digest that the weights of a learned one must have; empty: any."),
  Key("run.steps", 10_000, at_least(WINDOW), "Steps of the optimization."),
  Key("run.split", "test", one_of("test", "train"), "Split to fit; accuracy is measured on the other."),
  Key("run.draws", "report", one_of("report", "tuning"), "Random streams: to report, or to tune a rate."),
  Key("run.timed_steps", 0, at_least(0), "Steps that are repeated at the end to time them; 0: none."),
)
SHARED = ("experiment", "optimizee")  # groups of keys that both experiments read; `run` is of one alone


def default_config(
  kind: str, variant: str, *, variants: tuple[str, ...] = tuple(VARIANTS)
) -> ml_collections.ConfigDict:
  """Returns the settings for meta-training one kind of optimizer.

  Args:
    kind: one of `vita_jax.optim.KINDS`.
    variant: one of `variants`; "" is "plain".
    variants: those that this kind has.

  Raises:
    ValueError: unknown variant.
  """
  variant = choose("variant", variant or "plain", variants)
  config = defaults(train_config.KEYS, KEYS)
  # Seeds one after the other: each is at its own place in the curriculum.
  config.update({"paper": "l2o", "variant": variant, "log_every": 50, "replicate": "map"})
  config.optimizer.kind = kind
  config.stages, config.imitation.ratio = VARIANTS[variant]
  return config


def optimize_config(task: str = "digits_mlp") -> ml_collections.ConfigDict:
  """Returns the settings for one optimization of a problem, with Adam unless changed.

  Args:
    task: one of `vita_jax.optim.OPTIMIZEES`, or "package.module:function" (see `optimizees.optimizee`).

  Raises:
    ValueError: unknown task.
  """
  config = default_config("l2o_dm", "plain")
  config.experiment, config.log_every = "optimize", 50
  check_optimizee(task)
  config.optimizee.name = task
  return config


def check(config: Any) -> None:
  """Checks every key of a config by itself, and those that depend on each other.

  Raises:
    ValueError: names the key, what it is and what it must be.
  """
  builder = inspect.signature(
    KINDS[choose("config.optimizer.kind", config.optimizer.kind, tuple(KINDS))].build
  )
  if lacking := sorted(options_of(config.optimizer).keys() & {"scale", "odd"} - builder.parameters.keys()):
    raise ValueError(f"config.optimizer.{lacking[0]} is set: {config.optimizer.kind} has no such option")
  # Other options of the builder may be trained with, too: `optimizer.beta1`.
  options = tuple(
    Key(f"optimizer.{name}", None, OPTIONS.get(name, text("the name of a dtype")), "")
    for name in config.optimizer
    if name in builder.parameters and name not in ("scale", "odd")
  )
  keys.check(config, train_config.KEYS, KEYS, options)
  unused = [key for key in KEYS if not _is_read(key.name, config.experiment)]
  for key in unused:
    value = flat(config)[key.name]
    if (tuple(value) if isinstance(value, list) else value) != key.default:
      raise ValueError(f"config.{key.name} is {value}: an experiment '{config.experiment}' does not read it")
  if config.experiment == "optimize":
    return
  lengths, unroll = tuple(config.stages), config.unroll_length
  named, ratio = config.variant.split("_"), tuple(config.imitation.ratio)
  if (len(lengths) > 1, any(ratio)) != ("cl" in named, "il" in named):
    found = f"config.variant is {config.variant}, config.stages={lengths}, config.imitation.ratio={ratio}"
    raise ValueError(f"{found}: give the variant as the config's argument, which sets them")
  if any(n < unroll or n % unroll for n in lengths):
    raise ValueError(f"config.stages is {lengths}: they must be multiples of config.unroll_length, {unroll}")
  _check_mixture(config, lengths)
  if unroll % config.save_every:
    raise ValueError(
      f"config.save_every is {config.save_every}: it must divide config.unroll_length, {unroll}"
    )


def _check_mixture(config: Any, lengths: tuple[int, ...]) -> None:
  mixture, kind = config.mixture, config.optimizer.kind
  if mixture.shortest and not config.unroll_length <= mixture.shortest <= min(lengths):
    raise ValueError(
      f"config.mixture.shortest is {mixture.shortest}: it must be 0, or from config.unroll_length"
      f" ({config.unroll_length}) to the least of config.stages ({min(lengths)})"
    )
  if mixture.staggered and (any(config.imitation.ratio) or config.tasks == "vmap"):
    raise ValueError(
      "config.mixture.staggered is True: imitation epochs and config.tasks=vmap begin all optimizations at"
      " once; set config.imitation.ratio to (0.0,) and config.tasks to map"
    )
  if mixture.schedule != "constant" and any(config.imitation.ratio):
    raise ValueError(
      f"config.mixture.schedule is {mixture.schedule}: the teachers of imitation epochs keep their rates; set"
      " config.imitation.ratio to (0.0,)"
    )
  if config.meta.schedule != "constant" and not config.inner_steps:
    raise ValueError(f"config.meta.schedule is {config.meta.schedule}: it needs config.inner_steps, over 0")
  if config.meta.gradient == "pes" and KINDS[kind].learns_start:
    raise ValueError(
      f"config.meta.gradient is pes: {kind} learns its first state, which PES does not follow; use truncated"
    )
  data = {optimizee(name).data for name in (*families_of(config)[0], *families_of(config)[1])} - {""}
  if len(data) > 1:
    raise ValueError(
      f"config.mixture has problems on {', '.join(sorted(data))}: choose those of one data set"
    )


def families_of(config: Any) -> tuple[dict[str, float], tuple[str, ...]]:
  """Returns (problems that are trained on -> their weights, those that are validated on).

  Raises:
    ValueError: a problem twice.
  """
  named = [_weighted(text) for text in config.mixture.tasks] or [(config.optimizee.name, 1.0)]
  held_out = tuple(_weighted(text)[0] for text in config.mixture.held_out)
  for names in ([name for name, _ in named], list(held_out)):
    if twice := [name for name in names if names.count(name) > 1]:
      raise ValueError(f"config.mixture has the problem '{twice[0]}' twice: give it a weight, as in x:2")
  return dict(named), held_out or tuple(name for name, _ in named)


def _is_read(name: str, experiment: str) -> bool:
  group = name.partition(".")[0]
  return group in SHARED or (group == "run") == (experiment == "optimize")


class Recipe(NamedTuple):
  """How theta is trained; the fields are those of the config, resolved.

  Attributes:
    kind, options: of the optimizer, and of its builder.
    problems, singles: name -> what is optimized; the same, one optimization at a time.
    families, validated: name -> weight of those that are trained on; names of those validated on.
    is_mixture: there is more than one problem.
    teachers: name -> optax transformation.
    meta: the optimizer of theta.
    lengths: N of each stage. unroll_length: T. ratios: share of imitation epochs of each stage.
    validation_every, validation_rounds, fixed_validation: E, R / meta_batch, and whether R never changes.
    patience, inner_steps, epochs: when training ends.
    meta_loss: "sum" | "log_ratio". meta_batch, side_by_side: optimizations at once, and how.
    teacher_steps, save_every: see `segment`.
    final_steps, final_runs: the optimizations after training.
    gradient, sigma: "truncated" | "pes", and the deviation of its perturbations.
    reparametrise, shortest, staggered, schedule: see the keys of `mixture`.
    meta_schedule, clip_each: see the keys of `meta`.
    learns_start: the optimizer's first state depends on theta.
    clips: the meta-optimizer clips every entry, and so takes non-finite ones for zero.
  """

  kind: str
  options: Mapping[str, Any]
  problems: Mapping[str, tasks.Problem]
  singles: Mapping[str, tasks.Problem]
  families: Mapping[str, float]
  validated: tuple[str, ...]
  is_mixture: bool
  teachers: Mapping[str, optax.GradientTransformation]
  meta: optax.GradientTransformation
  lengths: tuple[int, ...]
  unroll_length: int
  ratios: tuple[float, ...]
  validation_every: int
  validation_rounds: int
  fixed_validation: bool
  patience: str
  inner_steps: int
  epochs: int
  meta_loss: str
  meta_batch: int
  side_by_side: bool
  teacher_steps: int
  save_every: int
  final_steps: int
  final_runs: int
  gradient: str
  sigma: float
  reparametrise: float
  shortest: int
  staggered: bool
  schedule: str
  meta_schedule: str
  clip_each: float
  learns_start: bool
  clips: bool


def recipe_of(config: Any) -> Recipe:
  """Resolves the training recipe of a config that `check` has passed.

  Raises:
    ValueError: an unknown problem.
  """
  kind, ratios = config.optimizer.kind, tuple(config.imitation.ratio)
  options = options_of(config.optimizer)
  families, validated = families_of(config)
  together = config.meta_batch if config.tasks == "vmap" else 0

  def problem(name, side_by_side):
    found = optimizee(name, logit_relu=config.optimizee.logit_relu)
    size = config.optimizee.batch_size
    return tasks.problem(found, batch_size=size, kind=kind, side_by_side=side_by_side, **options)

  every = tuple(dict.fromkeys((*families, *validated)))
  names = config.imitation.teachers if any(ratios) else ()
  return Recipe(
    kind=kind,
    options=options,
    problems={name: problem(name, together) for name in every},
    singles={name: problem(name, 0) for name in every},
    families=families,
    validated=validated,
    is_mixture=len(every) > 1,
    teachers={name: _teacher(name, config.imitation.learning_rate) for name in names},
    meta=meta_optimizer(config.meta),
    lengths=tuple(config.stages),
    unroll_length=config.unroll_length,
    ratios=ratios,
    validation_every=config.validation.every,
    validation_rounds=-(-config.validation.runs // config.meta_batch) * len(validated),
    fixed_validation=config.validation.draws == "fixed",
    patience=config.patience,
    inner_steps=config.inner_steps,
    epochs=config.epochs,
    meta_loss=config.meta_loss,
    meta_batch=config.meta_batch,
    side_by_side=config.tasks == "vmap",
    teacher_steps=config.imitation.steps,
    save_every=config.save_every,
    final_steps=config.final.steps,
    final_runs=config.final.runs,
    gradient=config.meta.gradient,
    sigma=config.meta.sigma,
    reparametrise=config.mixture.reparametrise,
    shortest=config.mixture.shortest,
    staggered=config.mixture.staggered,
    schedule=config.mixture.schedule,
    meta_schedule=config.meta.schedule,
    clip_each=config.meta.clip_each,
    learns_start=KINDS[kind].learns_start,
    clips=config.meta.clip_value > 0,
  )


def _teacher(text: str, learning_rate: float) -> optax.GradientTransformation:
  name, _, rate = text.partition(":")
  return teacher(name, float(rate) if rate else learning_rate)


def meta_optimizer(meta: Any) -> optax.GradientTransformation:
  """Builds theta's optimizer: Adam, or RMSprop with decay 0.9 and epsilon 1e-20; clips first if asked."""
  clips = []
  if meta.clip_norm > 0:
    clips.append(optax.clip_by_global_norm(meta.clip_norm))
  if meta.clip_value > 0:
    clips.append(optax.clip(meta.clip_value))
  if meta.optimizer == "adam":
    return optax.chain(*clips, optax.adam(meta.learning_rate))
  return optax.chain(*clips, optax.rmsprop(meta.learning_rate, decay=0.9, eps=1e-20))


def most_steps(recipe: Recipe) -> int:
  """Computes an upper bound of the number of segments."""
  shortest, longest = recipe.shortest or min(recipe.lengths), max(recipe.lengths)
  epochs, unroll = recipe.epochs, recipe.unroll_length
  if recipe.inner_steps:
    epochs = min(epochs, -(-recipe.inner_steps // (shortest * recipe.meta_batch)))
    training = recipe.inner_steps // (unroll * recipe.meta_batch) + longest // unroll
  else:
    training = epochs * longest // unroll
  validations = 2 * (epochs // recipe.validation_every + 1)
  return training + validations * recipe.validation_rounds * longest // unroll
