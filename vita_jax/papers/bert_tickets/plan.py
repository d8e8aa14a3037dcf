"""Which trainings an experiment is made of: the rounds of a search, then the tickets.

Training j of a search runs with the weights that the rounds before it have left. A ticket is trained by
itself afterwards, from a given start, with a fresh head and the full budget. How each begins is in `stages`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vita_jax import compress
from vita_jax.papers.bert_tickets.recipe import Recipe, percent


class Training(NamedTuple):
  """One stage.

  Attributes:
    name: of the stage. zeros: pruned weights while it runs.
    start: what its weights are at its beginning, one of `STARTS`; "early" while the point of rewinding is
      made, "on" for the rest of that training.
    ticket: sparsity of the ticket it trains, as a name ("70"), or "" in a search.
    result: name under which its development scores are reported, or "".
    cut: tickets whose masks are made of the weights at its end: name -> number of zeros.
    number: from 1; it names the dropout masks, so that they do not depend on the order.
  """

  name: str
  zeros: int
  start: str
  ticket: str = ""
  result: str = ""
  cut: tuple[tuple[str, int], ...] = ()
  number: int = 0


def plan(recipe: Recipe, size: int) -> tuple[Training, ...]:
  """Lists the trainings of a recipe, in order; `size` is the number of weights that can be pruned.

  The last is that of the sparsest ticket from its first start, which is what a run exports.

  Raises:
    ValueError: a sparsity that standard pruning does not reach.
  """
  numbered = [training._replace(number=i) for i, training in enumerate(_in_order(recipe, size), start=1)]
  return tuple(sorted(numbered, key=lambda training: training.result == recipe.main_result))


def _in_order(recipe: Recipe, size: int) -> tuple[Training, ...]:
  if recipe.masks_from == "none":
    return (Training("full", 0, "theta0", result="full"),)
  early = (Training("early", 0, "early"),) if recipe.rewind else ()
  zeros = {percent(sparsity): round(sparsity * size) for sparsity in recipe.sparsities}
  tickets = tuple(
    Training(f"ticket_{name}_{start}", n, start, ticket=name, result=f"{start}_{name}")
    for name, n in zeros.items()
    for start in recipe.starts
  )
  if recipe.masks_from != "search":
    return (*early, *tickets)
  after = _zeros_after_rounds(recipe, size)
  # The round after which each ticket is cut: the first whose pruning reaches it, but for rounding.
  rounds = {
    name: max(1, next(j for j, n in enumerate(after) if n >= wanted - 1)) for name, wanted in zeros.items()
  }
  search = _search(recipe, after, zeros, rounds)
  if "trained" not in recipe.starts:
    return (*early, *search, *tickets)
  return (*early, *_standard(search, after, zeros, rounds))


def _zeros_after_rounds(recipe: Recipe, size: int) -> tuple[int, ...]:
  rate = recipe.rate
  if recipe.schedule == "linear":
    most = 1 / rate
  else:
    most = 2 + math.log(1 - recipe.sparsities[-1]) / math.log(1 - rate)
  return compress.zeros_after(size, math.ceil(most), schedule=recipe.schedule, rate=rate)


def _search(
  recipe: Recipe, after: Sequence[int], zeros: Mapping[str, int], rounds: Mapping[str, int]
) -> tuple[Training, ...]:
  first = "on" if recipe.rewind else "theta0"
  again = "trained" if recipe.continues else "theta0"
  return tuple(
    Training(
      f"round_{j}",
      after[j - 1],
      first if j == 1 else again,
      cut=tuple((name, zeros[name]) for name in zeros if rounds[name] == j),
    )
    for j in range(1, max(rounds.values()) + 1)
  )


def _standard(
  search: Sequence[Training], after: Sequence[int], zeros: Mapping[str, int], rounds: Mapping[str, int]
) -> tuple[Training, ...]:
  """Without rewinding, the training of a ticket from the trained weights is the next round."""
  for name, j in rounds.items():
    if abs(after[j] - zeros[name]) > 1:
      raise ValueError(f"sparsity {name} % is not reached by whole rounds, which standard pruning needs")
  results = {j + 1: f"trained_{name}" for name, j in rounds.items()}
  more = Training(f"round_{len(search) + 1}", after[len(search)], "trained")
  return tuple(r._replace(result=results.get(j, "")) for j, r in enumerate((*search, more), start=1))
