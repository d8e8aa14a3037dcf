"""The phases of training as stages: what happens between them, and the steps they share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.pu_split import Sizes
from vita_jax.data.resident import Resident
from vita_jax.papers.self_pu import choose
from vita_jax.papers.self_pu.model import Network
from vita_jax.papers.self_pu.recipe import Recipe
from vita_jax.papers.self_pu.schedule import Phase, phase_numbers
from vita_jax.papers.self_pu.selection import Trusted, empty_trusted, purity, select_trusted
from vita_jax.papers.self_pu.steps import Blocks, make_step
from vita_jax.train.experiment import Stage, State, Sweep, keep


def stages(
  recipe: Recipe, network: Network, rows: Any, sizes: Sizes, found: tuple[Phase, ...]
) -> tuple[Stage, ...]:
  """Builds one stage per phase; phases with the same blocks share one step, hence one compiled program."""
  # The loop lays these numbers out over the mesh's data axis, and with them whatever a batch gathers.
  slots = Resident({"slot": np.arange(recipe.batch_size, dtype=np.int32)}, recipe.batch_size, order="rows")
  table = Resident(rows, None)
  pool = Resident(rows, min(recipe.batch_size, len(rows["positive"])), order="rows")  # memory as in training
  steps: dict[Blocks, Callable] = {}
  result, judged_from = [], choose.first_epoch(recipe)
  for i, phase in enumerate(found):
    blocks = Blocks(any(phase.sides), phase.calibrates, phase.distils, judges=phase.last > judged_from)
    if blocks not in steps:
      steps[blocks] = make_step(recipe, network, blocks)
    numbers = phase_numbers(recipe, phase, n_labelled=sizes.labelled, n_unlabelled=sizes.unlabelled)
    starts = phase.distils and not (i and found[i - 1].distils)
    result.append(
      Stage(
        phase.name,
        int(numbers["steps"]) * (phase.last - phase.first),
        steps[blocks],
        slots,
        also={"rows": table, "phase": Resident(numbers, None), "pool": pool},
        enter=partial(_enter, recipe, network, phase.selects, starts) if phase.selects or starts else keep,
      )
    )
  return tuple(result)


def start_selection(recipe: Recipe, n_unlabelled: int, n_selections: int) -> State:
  """Returns the fields of a state with trusted sets: `trusted`, and `history` of their sizes and purity.

  `history` float32 [selections, students]: `size` (rows), `purity_positive`, `purity_negative` (NaN where no
  true class is known).
  """
  if not recipe.self_paced.enabled:
    return {}
  one = empty_trusted(n_unlabelled)
  trusted = jax.tree.map(lambda x: jnp.broadcast_to(x, (recipe.students, *x.shape)), one)
  blank = jnp.full((n_selections, recipe.students), jnp.nan, jnp.float32)
  names = ("size", "purity_positive", "purity_negative")
  return {"trusted": trusted, "history": dict.fromkeys(names, blank), "selections": jnp.int32(0)}


def _enter(
  recipe: Recipe, network: Network, selects: bool, teachers: bool, state: State, sweep: Sweep
) -> State:
  if selects:
    state = _select(recipe, network, state, sweep)
  if teachers:
    copy = {name: state[name] for name in ("params", "batch_stats")}
    state = {**state, "teachers": copy, "teacher_updates": jnp.int32(0)}
  return state


def _select(recipe: Recipe, network: Network, state: State, sweep: Sweep) -> State:
  """Chooses every student's trusted set among the unlabelled rows that are not labelled as well."""
  judged = choose.candidates(state)  # the teachers, where there are any by now

  def of_rows(state, batch):
    logits = jax.vmap(lambda p, s: network.logits(p, s, batch["x"]), out_axes=1)(*judged)
    return logits, batch["positive"]

  logits, positive = sweep(of_rows, state, over="pool")
  side = sweep(lambda s, phase: phase["side"], state, over="phase")
  items = state["unlabelled"]
  eligible = jnp.ones(positive.shape, bool).at[state["labelled"]].set(False)[items]

  def one(logits, side, previous):
    kept = None if recipe.self_paced.replacement else previous
    trusted = select_trusted(logits[items], side=side, eligible=eligible, previous=kept)
    shares = purity(trusted, positive[items] > 0)
    return trusted, [jnp.where(jnp.all(positive >= 0), share, jnp.nan) for share in shares]

  trusted, shares = jax.vmap(one, in_axes=(1, 0, 0))(logits, side, state["trusted"])
  values = {"size": 2.0 * side, "purity_positive": shares[0], "purity_negative": shares[1]}
  number = state["selections"]
  history = {name: x.at[number].set(values[name].astype(x.dtype)) for name, x in state["history"].items()}
  return {**state, "trusted": Trusted(*trusted), "history": history, "selections": number + 1}
