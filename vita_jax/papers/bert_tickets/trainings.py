"""Which trainings an experiment is made of: the rounds of a search, then the tickets; and how each begins.

Training j of the search runs with the weights that the rounds before it have left; at its start the smallest
of what was trained are pruned, and everything goes back to where it began (`Stage.enter`). A ticket is
trained by itself afterwards, from a given start, with a fresh head and the full budget.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import compress
from vita_jax.base.choose import choose
from vita_jax.compress.masks import chosen
from vita_jax.papers.bert_tickets.config import MEANING, STARTS
from vita_jax.train.experiment import State

# Streams of a seed's key.
INIT, REINIT, SHUFFLE, MASKS = range(4)


class Training(NamedTuple):
  """One stage.

  Attributes:
    name: of the stage. zeros: pruned weights while it runs.
    start: what its weights are at its beginning, one of `STARTS`; "early" while the point of rewinding is
      made, "on" for the rest of that training.
    ticket: sparsity of the ticket it trains, as a name ("70"), or "" in a search.
    result: name under which its development scores are reported, or "".
    cut: tickets whose masks are made of the weights at its end: name -> number of zeros.
    number: from 1; it names the dropout masks, so that they do not hang on the order.
  """

  name: str
  zeros: int
  start: str
  ticket: str = ""
  result: str = ""
  cut: tuple[tuple[str, int], ...] = ()
  number: int = 0


def percent(sparsity: float) -> str:
  """0.7 -> "70"."""
  return f"{100 * sparsity:g}"


def plan(config: Any, size: int) -> tuple[Training, ...]:
  """The trainings of a config, in order; `size` is the number of weights that can be pruned.

  The last is that of the sparsest ticket from its first start, which is what a run exports.

  Raises:
    ValueError: sparsities, starts or options that cannot be, or that do not go together.
  """
  numbered = [training._replace(number=i) for i, training in enumerate(_plan(config, size), start=1)]
  return tuple(sorted(numbered, key=lambda training: training.result == _main_result(config)))


def _main_result(config: Any) -> str:
  """The result that is reported under plain names, and whose weights are exported."""
  if config.method == "full":
    return "full"
  return f"{config.starts[0]}_{percent(max(config.sparsity, *config.tickets, 0))}"


def _plan(config, size):
  source, _ = MEANING[config.method]
  targets = sorted({*config.tickets, config.sparsity})
  for value in targets:
    if not 0 <= value < 1:
      raise ValueError(f"a sparsity is {value}: it has to be in [0, 1)")
  for start in config.starts:
    choose("start in config.starts", start, STARTS)
  early = (Training("early", 0, "early"),) if config.rewind else ()
  if source == "none":
    return (Training("full", 0, "theta0", result="full"),)
  zeros = {percent(s): round(s * size) for s in targets}
  ticket_trainings = tuple(
    Training(f"ticket_{name}_{start}", n, start, ticket=name, result=f"{start}_{name}")
    for name, n in zeros.items()
    for start in config.starts
  )
  if source != "search" or config.ticket:
    if "trained" in config.starts:
      raise ValueError("config.starts 'trained' needs a search: leave config.ticket empty, method=standard")
    return (*early, *ticket_trainings)
  schedule, rate = config.pruning.schedule, config.pruning.rate
  most = 1 / rate if schedule == "linear" else 2 + math.log(1 - targets[-1]) / math.log(1 - rate)
  after = compress.zeros_after(size, math.ceil(most), schedule=schedule, rate=rate)
  # The round after which each ticket is cut: the first whose pruning reaches it, but for rounding.
  rounds = {
    name: max(1, next(j for j, n in enumerate(after) if n >= wanted - 1)) for name, wanted in zeros.items()
  }
  cuts = lambda j: tuple((name, zeros[name]) for name in zeros if rounds[name] == j)  # noqa: E731
  first = "on" if config.rewind else "theta0"
  again = "trained" if config.rewind_to == "none" else "theta0"
  search = tuple(
    Training(f"round_{j}", after[j - 1], first if j == 1 else again, cut=cuts(j))
    for j in range(1, max(rounds.values()) + 1)
  )
  if "trained" not in config.starts:
    return (*early, *search, *ticket_trainings)
  return (*early, *_standard(config, search, after, zeros, rounds))


def _standard(config, search, after, zeros, rounds):
  """Without rewinding, the training of a ticket from the trained weights is the next round."""
  if tuple(config.starts) != ("trained",) or config.rewind_to != "none":
    raise ValueError("config.starts 'trained' goes alone, and with config.rewind_to=none (method=standard)")
  for name, j in rounds.items():
    if abs(after[j] - zeros[name]) > 1:
      raise ValueError(f"sparsity {name} % is not reached by whole rounds, which standard pruning needs")
  results = {j + 1: f"trained_{name}" for name, j in rounds.items()}
  more = Training(f"round_{len(search) + 1}", after[len(search)], "trained")
  return [r._replace(result=results.get(j, "")) for j, r in enumerate((*search, more), start=1)]


# Where data are streamed `enter` runs on the host: one program, not one for each array.
_pack, _unpack = jax.jit(compress.pack), jax.jit(compress.unpack)


class Beginning(NamedTuple):
  """What `make_enter` needs of an experiment.

  Attributes:
    fresh: `key -> params`, all weights random.
    tx: optimizer. select: regex of the pruned leaves. head: regex of the leaves of the head.
    prune: `(params, masks, zeros) -> masks` with so many zeros in all, by magnitude.
    outputs: `(state, batch) -> rows`, kept of each result's development rows.
    keep_head: whether search rounds leave the head as trained.
    masks: `(key, theta0) -> {name: masks}` of the tickets, where they are not cut in a search; or None.
    pretrained: whether `also["pretrained"]` holds weights.
    rewinds: whether there is an early point to go back to.
    blank: makes what the state holds from the start, so that all trainings share one compiled step: zeros for
      the bits of every ticket and for the outputs of every result.
  """

  fresh: Callable[[jax.Array], Any]
  tx: Any
  select: str
  head: str
  prune: Callable[[Any, compress.Masks, int], compress.Masks]
  outputs: Callable[[State, Any], jax.Array]
  keep_head: bool
  masks: Callable[[jax.Array, Any], dict[str, Any]] | None
  pretrained: bool
  rewinds: bool
  blank: Callable[[], dict[str, Any]]


def theta0(fresh: Callable[[jax.Array], Any], key: jax.Array, pretrained: Any) -> Any:
  """(θ_0, γ_0): the pre-trained weights where there are any, else random ones, the same at every call.

  A pre-trained pooler is there for tasks that do not use it, too: it is pruned, so that every task's tickets
  have the same matrices.
  """
  return _overlaid(fresh(jax.random.fold_in(key, INIT)), pretrained)


def _overlaid(tree, over):
  if not isinstance(tree, dict):
    return over
  return tree | {k: _overlaid(tree.get(k), v) for k, v in over.items()}


def make_enter(how: Beginning, training: Training, before: Training | None) -> Callable:
  """The transition into `training` after `before` (None: it is the first)."""
  begin = _begin(how)

  def enter(state: State, sweep) -> State:
    key = state["key"]
    pretrained = sweep(_weights, state, over="pretrained") if how.pretrained else {}
    if before is None:
      state = {**state, **how.blank()}
    elif before.result:
      rows = sweep(how.outputs, state, over="dev")
      state = {**state, "outputs": state["outputs"] | {before.result: rows}}
    number = jnp.int32(training.number)
    if training.start == "on":  # the same training goes on
      return {**state, "early": _copied(state["params"]), "training": number}
    bits, tickets = _masks(how, training, before, state, pretrained)
    keeps = how.keep_head and before is not None and not (training.ticket or before.ticket)
    early = {}
    if how.rewinds and before is not None:
      early = _copied(state["params"]) if before.start == "early" else state["early"]
    now = state["params"] if training.start == "trained" or keeps else {}
    started = begin(key, pretrained, early, now, bits, start=training.start, keep_head=keeps)
    new = {**state, **started, "training": number, "masks": bits, "tickets": tickets}
    return new | ({"early": early or _copied(started["params"])} if how.rewinds else {})

  return enter


def _weights(state, batch):
  del state
  return batch["params"]


def _masks(how, training, before, state, pretrained):
  """(bits of this training's masks, bits of all tickets so far)."""
  params, tickets = state["params"], state["tickets"]
  if training.result == "full":
    return {}, tickets
  if before is not None and before.cut:
    masks = _unpack(state["masks"], params)
    tickets = tickets | {name: _pack(how.prune(params, masks, zeros)) for name, zeros in before.cut}
  if how.masks is not None and before is None:
    made = how.masks(state["key"], lambda: _first(how.fresh)(state["key"], pretrained))
    tickets = tickets | {name: _pack(m) for name, m in made.items()}
  if training.ticket:
    return tickets[training.ticket], tickets
  if before is None or before.start == "early" or training.start == "early":
    return _pack(compress.full_masks(params, select=how.select)), tickets
  return _pack(how.prune(params, _unpack(state["masks"], params), training.zeros)), tickets


@functools.cache
def _begin(how: Beginning):
  """`begin(...) -> {"params", "tx"}`: where a training starts, masked, with a new optimizer."""

  @functools.partial(jax.jit, static_argnames=("start", "keep_head"))
  def begin(key, pretrained, early, now, bits, *, start: str, keep_head: bool):
    first = theta0(how.fresh, key, pretrained)
    params = early or first
    shuffle_key = jax.random.fold_in(key, SHUFFLE)
    if start == "shuffled":
      params = compress.shuffle_layers(shuffle_key, params, select=how.select)
    elif start == "shuffled_entries":
      params = compress.shuffle_entries(shuffle_key, params, select=how.select)
    elif start == "random_reinit":
      other = _overlaid(first, how.fresh(jax.random.fold_in(key, REINIT)))
      params = compress.rewind(other, params, select=how.head)
    elif start == "trained":
      params = now
    if keep_head:
      params = compress.rewind(params, now, select=how.head)
    # A training gives its weights' memory away step by step: it must not be that of θ_0 or of the early
    # point.
    params = _copied(compress.apply_masks(params, compress.unpack(bits, params)))
    return {"params": params, "tx": how.tx.init(params)}

  return begin


@functools.cache
def _first(fresh):
  return jax.jit(functools.partial(theta0, fresh))


def _copied(tree):
  return jax.tree.map(jnp.copy, tree)


def blank(
  tree: Any, select: str, trainings: tuple[Training, ...], row: jax.ShapeDtypeStruct, n_rows: int
) -> dict[str, Any]:
  """Zeros for `tickets` (bits) and `outputs` ([n_rows, ...] of all results but the last, which ends the run).

  Args:
    tree: of shapes. row: shape and dtype of a batch of outputs [B, ...].
  """
  zeros = lambda shape, dtype: jnp.array(np.zeros(shape, dtype))  # noqa: E731
  bits = {n: (*x.shape[:-1], -(-x.shape[-1] // 8)) for n, x in chosen(tree, select).items()}
  tickets = dict.fromkeys([n for t in trainings for n in (*dict(t.cut), t.ticket) if n])
  results = [t.result for t in trainings[:-1] if t.result]
  return {
    "tickets": {name: {n: zeros(shape, np.uint8) for n, shape in bits.items()} for name in tickets},
    "outputs": {name: zeros((n_rows, *row.shape[1:]), row.dtype) for name in results},
  }


def count(tree: Any, select: str) -> int:
  """Number of weights in the leaves that `select` finds, of a tree of shapes."""
  return sum(int(np.prod(jnp.shape(x))) for x in chosen(tree, select).values())
