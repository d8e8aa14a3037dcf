"""The phases of training as stages: what happens between them, and the steps they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.resident import Resident
from vita_jax.papers.self_pu import choose
from vita_jax.papers.self_pu.network import Network
from vita_jax.papers.self_pu.schedule import Phase, phase_numbers
from vita_jax.papers.self_pu.selection import Trusted, empty_trusted, purity, select_trusted
from vita_jax.papers.self_pu.split import Sizes
from vita_jax.papers.self_pu.steps import Blocks, make_step
from vita_jax.train.experiment import Stage, State, keep


def stages(
  config: Any, network: Network, rows: Any, sizes: Sizes, found: tuple[Phase, ...]
) -> tuple[Stage, ...]:
  """One stage per phase; phases with the same blocks share one step function, hence one compiled program."""
  # The loop lays these numbers out over the mesh's data axis, and with them whatever a batch gathers.
  slots = Resident({"slot": np.arange(config.batch_size, dtype=np.int32)}, config.batch_size, order="rows")
  table = Resident(rows, None)
  pool = Resident(rows, min(config.batch_size, len(rows["positive"])), order="rows")  # memory as in training
  steps: dict[Blocks, Callable] = {}
  result, judged_from = [], choose.first_epoch(config)
  for i, phase in enumerate(found):
    blocks = Blocks(any(phase.sides), phase.calibrates, phase.distils, judges=phase.last > judged_from)
    if blocks not in steps:
      steps[blocks] = make_step(config, network, blocks)
    numbers = phase_numbers(config, phase, n_labelled=sizes.labelled, n_unlabelled=sizes.unlabelled)
    starts_teachers = phase.distils and not (i and found[i - 1].distils)
    result.append(
      Stage(
        phase.name,
        int(numbers["steps"]) * (phase.last - phase.first),
        steps[blocks],
        slots,
        also={"rows": table, "phase": Resident(numbers, None), "pool": pool},
        enter=_enter(config, network, phase, teachers=starts_teachers),
      )
    )
  return tuple(result)


def start_selection(config: Any, n_students: int, n_unlabelled: int, n_selections: int) -> State:
  """The fields of a state that holds trusted sets: `trusted`, and `history` of their sizes and purity.

  `history` float32 [selections, students]: `size` (rows), `purity_positive`, `purity_negative` (NaN where no
  true class is known).
  """
  if not config.self_paced.enabled:
    return {}
  one = empty_trusted(n_unlabelled)
  trusted = jax.tree.map(lambda x: jnp.broadcast_to(x, (n_students, *x.shape)), one)
  blank = jnp.full((n_selections, n_students), jnp.nan, jnp.float32)
  names = ("size", "purity_positive", "purity_negative")
  return {"trusted": trusted, "history": dict.fromkeys(names, blank), "selections": jnp.int32(0)}


def _enter(config: Any, network: Network, phase: Phase, *, teachers: bool) -> Callable:
  if not (phase.selects or teachers):
    return keep

  def enter(state: State, sweep) -> State:
    if phase.selects:
      state = _select(config, network, state, sweep)
    if teachers:
      copy = {name: state[name] for name in ("params", "batch_stats")}
      state = {**state, "teachers": copy, "teacher_updates": jnp.int32(0)}
    return state

  return enter


def _select(config: Any, network: Network, state: State, sweep) -> State:
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
    kept = None if config.self_paced.replacement else previous
    trusted = select_trusted(logits[items], side=side, eligible=eligible, previous=kept)
    right = purity(trusted, positive[items] > 0)
    return trusted, [jnp.where(jnp.all(positive >= 0), share, jnp.nan) for share in right]

  trusted, shares = jax.vmap(one, in_axes=(1, 0, 0))(logits, side, state["trusted"])
  values = {"size": 2.0 * side, "purity_positive": shares[0], "purity_negative": shares[1]}
  number = state["selections"]
  history = {name: x.at[number].set(values[name].astype(x.dtype)) for name, x in state["history"].items()}
  return {**state, "trusted": Trusted(*trusted), "history": history, "selections": number + 1}
