"""What depends on the epoch alone: sizes of the trusted sets, phases of training."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.papers.self_pu.recipe import Recipe

FORMS = ("released", "linear")


def trusted_fraction(
  epoch: int,
  *,
  pace: float,
  form: str = "released",
  increasing: bool = True,
  rho: float = 0.5,
  start: int = 10,
  stop: int = 50,
  every: int = 10,
) -> float:
  """Computes the share of the unlabelled rows that is trusted on EACH side by the selection after `epoch`.

  released: (1 - ρ) min(epoch / 100, 1) pace; without `increasing` the middle factor is 1.
  linear (as the paper describes it): the whole trusted set grows by equal steps, one per selection, from 0
  to the share `pace` at the last; half of it on each side. Without `increasing` it has that size at once.

  Raises:
    ValueError: an unknown form.
  """
  choose("config.self_paced.form", form, FORMS)
  if form == "released":
    return (1.0 - rho) * (min(epoch / 100, 1.0) if increasing else 1.0) * pace
  selections = math.ceil((stop - start) / every)
  done = (epoch - start) // every + 1
  return (min(max(done / selections, 0.0), 1.0) if increasing else 1.0) * pace / 2


def trusted_rows(epoch: int, *, n_unlabelled: int, **options: Any) -> int:
  """Computes how many rows a trusted set has on each side after the selection of `epoch`, rounded down."""
  # 60000 * 0.5 * 0.3 * 0.4 is a hair below 3600 in floating point.
  return math.floor(n_unlabelled * trusted_fraction(epoch, **options) + 1e-6)


def prior_of_rest(prior: float, *, n_unlabelled: int, side: int) -> float:
  """Computes the share of positives once `side` positives and `side` negatives leave the unlabelled rows.

  (π n - k) / (n - 2k), kept inside (0, 1): a trusted set larger than what the prior allows (which
  `phase_numbers` warns of) would leave none.
  """
  rest = (prior * n_unlabelled - side) / (n_unlabelled - 2 * side)
  return min(max(rest, 0.01 * prior), 1.0 - 0.01 * (1.0 - prior))


class Phase(NamedTuple):
  """Epochs `first` to `last - 1`, all alike.

  `selects`: trusted sets are chosen on entering, of `sides[s]` rows on each side for student s.
  """

  name: str
  first: int
  last: int
  selects: bool
  calibrates: bool
  distils: bool
  sides: tuple[int, ...]


def phases(recipe: Recipe, n_unlabelled: int) -> tuple[Phase, ...]:
  """Returns the phases of a run: a selection, a start or end of calibration or of distillation parts them."""
  paced, calibration, distillation = recipe.self_paced, recipe.calibration, recipe.distillation
  selections = list(range(paced.start, paced.stop, paced.every)) if paced.enabled else []
  selections = [e for e in selections if e + 1 < recipe.epochs]
  marks = {0, recipe.epochs, *(e + 1 for e in selections)}
  marks |= {calibration.start, calibration.stop} if calibration.enabled else set()
  marks |= {distillation.start} if distillation.enabled else set()
  ordered = sorted(m for m in marks if 0 <= m <= recipe.epochs)
  found, rounds = [], 0
  for first, last in zip(ordered[:-1], ordered[1:], strict=True):
    chosen = [e for e in selections if e < first]
    sides = (0,) * len(paced.paces)
    if chosen:
      options = {
        name: getattr(paced, name) for name in ("form", "increasing", "rho", "start", "stop", "every")
      }
      sides = tuple(
        trusted_rows(chosen[-1], n_unlabelled=n_unlabelled, pace=p, **options) for p in paced.paces
      )
    calibrates = bool(calibration.enabled and calibration.start <= first < calibration.stop)
    distils = bool(distillation.enabled and first >= distillation.start)
    selects = first - 1 in selections
    rounds += selects
    name = (
      "distil" if distils else f"self_paced_{rounds}" if rounds else "calibrate" if calibrates else "warm_up"
    )
    found.append(Phase(name, first, last, selects, calibrates, distils, sides))
  if len(found) == 1:
    return (found[0]._replace(name="train"),)
  names = [phase.name for phase in found]
  return tuple(
    p._replace(name=f"{p.name}_from_{p.first}" if names.count(p.name) > 1 else p.name) for p in found
  )


def phase_numbers(
  recipe: Recipe, phase: Phase, *, n_labelled: int, n_unlabelled: int
) -> dict[str, np.ndarray]:
  """Computes what a step must know about its phase, as arrays, so that phases share one compiled step.

  An epoch visits the trusted sets first (`trusted_steps` batches, the last one padded), then labelled and
  unlabelled rows interleaved: every `interleave`-th row is a labelled positive. Students with fewer
  batches than the other rest.

  Returns:
    int32 scalars `first_epoch`, `steps` (per epoch), `trusted_steps`; int32 [students] `side`,
    `own_trusted_steps`, `own_pu_steps`, `interleave`; float32 [students] `prior`.

  Raises:
    ValueError: a batch that could be without a labelled positive, or longer than an epoch; fewer
      unlabelled rows left than labelled positives.
  """
  side = np.array(phase.sides, np.int32)
  rest = n_unlabelled - 2 * side
  if (rest < n_labelled).any():
    raise ValueError(
      f"{int(rest.min())} unlabelled rows are left beside {n_labelled} labelled positives: take fewer"
      " labelled positives (config.data.n_labelled) or smaller config.self_paced.paces"
    )
  interleave = rest // n_labelled + 1
  if (interleave > recipe.batch_size).any():
    raise ValueError(
      f"config.batch_size {recipe.batch_size} is smaller than the interleave {int(interleave.max())}"
      f" ({n_labelled} labelled among {n_unlabelled} unlabelled rows): a batch could be without a labelled"
      f" positive; take a batch_size of at least {int(interleave.max())}, or 0 for what suits"
    )
  own_trusted, own_pu = -(-2 * side // recipe.batch_size), n_labelled * interleave // recipe.batch_size
  if (own_pu == 0).any():
    raise ValueError(
      f"config.batch_size {recipe.batch_size} is larger than an epoch of"
      f" {int((n_labelled * interleave).min())} rows ({n_labelled} labelled among"
      f" {n_unlabelled} unlabelled ones, {int(2 * side.max())} trusted): take a smaller one, or 0"
    )
  paced = recipe.self_paced
  adjusts = paced.enabled and paced.adjust_prior
  if (most := side.max()) > (fewer := int(min(recipe.prior, 1 - recipe.prior) * n_unlabelled)):
    warnings.warn(
      f"{phase.name}: a trusted set takes {most} rows for either class, and by config.prior {recipe.prior}"
      f" the smaller one has {fewer} of {n_unlabelled}: take smaller config.self_paced.paces",
      stacklevel=2,
    )
  prior = [
    prior_of_rest(recipe.prior, n_unlabelled=n_unlabelled, side=k) if adjusts else recipe.prior
    for k in phase.sides
  ]
  numbers = {
    "first_epoch": phase.first,
    "steps": own_trusted.max() + own_pu.max(),
    "trusted_steps": own_trusted.max(),
    "side": side,
    "own_trusted_steps": own_trusted,
    "own_pu_steps": own_pu,
    "interleave": interleave,
  }
  found = {name: np.asarray(value, np.int32) for name, value in numbers.items()}
  return {**found, "prior": np.asarray(prior, np.float32)}
