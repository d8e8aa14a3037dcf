"""Learning rates as functions of the step: optax schedules."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import optax

from vita_jax.base.choose import choose
from vita_jax.base.keys import above, at_least, between
from vita_jax.optim.leaves import COUNT, check_number


def warmup_poly(
  peak: float,
  total_steps: int,
  *,
  warmup: int = 100,
  start: float = 0.01,
  power: float = 0.9,
  stop: float = 0.8,
) -> optax.Schedule:
  """Builds a quadratic warm-up times a polynomial decay that stops before it reaches zero.

  rate(t) = peak min(start + (1 - start) (t / warmup)^2, 1) (1 - min(t / total_steps, stop))^power. Source:
  "Automated Synthetic-to-Real Generalization" (ICML 2020) as released.

  Args:
    peak: the rate after the warm-up, were there no decay.
    total_steps: of the run.
    warmup: steps until the first factor is 1.
    start: the first factor at step 0, 0 to 1.
    power: of the decay.
    stop: the share of the run after which the rate is constant, 0 to 1.

  Raises:
    ValueError: a number out of its range.

  Examples:
    >>> [round(float(warmup_poly(1.0, 1000)(t)), 5) for t in (0, 100, 800, 999)]
    [0.01, 0.90953, 0.23492, 0.23492]
  """
  check_number("peak", peak, at_least(0))
  check_number("total_steps", total_steps, COUNT)
  check_number("warmup", warmup, COUNT)
  check_number("start", start, between(0, 1))
  check_number("power", power, above(0))
  check_number("stop", stop, between(0, 1))

  def rate(count):  # optax gives numbers of Python, of NumPy and of JAX
    rise = jnp.minimum(start + (1 - start) * jnp.square(count / warmup), 1.0)
    return peak * rise * (1 - jnp.minimum(count / total_steps, stop)) ** power

  return rate


def epoch_cosine(peak: float, total_steps: int, per_epoch: int) -> optax.Schedule:
  """Builds a cosine to 0 that falls once per epoch: peak (1 + cos(pi e / E)) / 2 in epoch e of E.

  As torch's CosineAnnealingLR stepped after each epoch.

  Args:
    peak: the rate of the first epoch.
    total_steps: of the run; E = total_steps / per_epoch need not be whole: the last epoch may be cut short.
    per_epoch: steps of an epoch.

  Examples:
    >>> rate = epoch_cosine(0.1, total_steps=40, per_epoch=10)
    >>> [round(float(rate(t)), 4) for t in (0, 9, 20, 40)]
    [0.1, 0.1, 0.05, 0.0]
  """
  epochs = max(total_steps / per_epoch, 1.0)

  def rate(count):  # optax gives numbers of Python, of NumPy and of JAX
    return peak * (1 + jnp.cos(jnp.pi * jnp.minimum(count // per_epoch / epochs, 1.0))) / 2

  return rate


DECAYS = ("linear", "cosine", "steps")


def decayed(
  rate: float, total_steps: int, *, kind: str, warmup: int = 0, drops: Sequence[int] = ()
) -> optax.Schedule:
  """Builds a linear warm-up from 0, and a decay over the rest of the run.

  Args:
    rate: after the warm-up.
    total_steps: of the run, warm-up included.
    kind: "linear" or "cosine" to 0 at the last step; "steps": divided by 10 at each of `drops`.
    warmup: steps; 0: none.
    drops: steps, counted from the start of the run.

  Raises:
    ValueError: an unknown kind, or a number out of its range.

  Examples:
    >>> [round(float(decayed(1.0, 100, kind="steps", drops=(50, 80))(t)), 4) for t in (0, 50, 99)]
    [1.0, 0.1, 0.01]
  """
  choose("kind", kind, DECAYS)
  check_number("rate", rate, at_least(0))
  rest = max(1, total_steps - warmup)
  if kind == "linear":
    after = optax.linear_schedule(rate, 0.0, rest)
  elif kind == "cosine":
    after = optax.cosine_decay_schedule(rate, rest)
  else:
    after = optax.piecewise_constant_schedule(rate, {max(0, step - warmup): 0.1 for step in drops})
  if not warmup:
    return after
  return optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), after], [warmup])
