"""The network level: which resolution branches exist in each stage, how deep they are, and who sends to whom.

After the abstract of AutoPose (arXiv 2008.07018), whose own space was never published in full: branches of
strides s, 2s, 4s, ... side by side, a finest one that is always there, and aggregation that is searched.

Tokens, in a row: the depth d; for each stage the number of cells of each branch, then a 0/1 for each ordered
pair of branches (does `to` receive `from` at its entry?), in the order of `pairs_of`; for the head a 0/1 for
each coarser branch. With 4 stages and 4 branches these are 68.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.search.tokens import TokenSpace

VERSION = 1  # of the space: what tokens mean
LEAST_DEPTH = 2
PRESETS = ("single_branch", "no_edges", "all_edges", "staged")


class Space(NamedTuple):
  """The size of the space.

  Attributes:
    stages: the most stages, at least 2.
    branches: the most branches.
    cells: the most cells of a branch in a stage.
  """

  stages: int = 4
  branches: int = 4
  cells: int = 3


class Network(NamedTuple):
  """A network level as arrays, what tokens mean after repair; S stages, N branches. Of numpy or of JAX.

  Attributes:
    live: bool [S]: whether a stage is used.
    cells: int [S, N]: cells of each branch; 0: it is absent.
    edges: bool [S, N, N]: [stage, to, from]; the diagonal is a branch that goes on from the stage before. In
      the first stage everything comes from the stem, which stands in the place of branch 0.
    head: bool [N]: which branches of the last stage the head adds up; the first always.
  """

  live: Any
  cells: Any
  edges: Any
  head: Any


def pairs_of(space: Space) -> list[tuple[int, int]]:
  """Returns the ordered pairs (to, from) of different branches, in the order of the tokens."""
  n = space.branches
  return [(to, source) for to in range(n) for source in range(n) if to != source]


def token_space(space: Space) -> TokenSpace:
  """Returns the tokens of a space; branch 0 must have a cell in each stage.

  Examples:
    >>> token_space(Space()).length
    68
  """
  stages, branches, most = space.stages, space.branches, max(space.cells + 1, space.stages - 1, 2)
  if stages < LEAST_DEPTH or branches < 1 or space.cells < 1:
    raise ValueError(f"{space}: give at least {LEAST_DEPTH} stages, 1 branch and 1 cell")
  pairs = pairs_of(space)
  names, kinds, allowed = ["depth"], [0], [_among(range(stages - 1), most)]
  for stage in range(1, stages + 1):
    for branch in range(branches):
      names.append(f"cells of branch {branch} in stage {stage}")
      kinds.append(1 + branch)
      allowed.append(_among(range(0 if branch else 1, space.cells + 1), most))
    for i, (to, source) in enumerate(pairs):
      names.append(f"edge from branch {source} to {to} in stage {stage}")
      kinds.append(1 + branches + i)
      allowed.append(_among((0, 1), most))
  for branch in range(1, branches):
    names.append(f"branch {branch} in the head")
    kinds.append(branches + len(pairs) + branch)
    allowed.append(_among((0, 1), most))

  def live(tokens: Any) -> Any:
    return _live(space, tokens)

  return TokenSpace(tuple(names), tuple(kinds), np.stack(allowed), live)


def _among(values: Any, most: int) -> np.ndarray:
  return np.isin(np.arange(most), list(values))


def _read(space: Space, tokens: Any) -> tuple[Any, Any, Any, Any]:
  """Splits tokens [T] into the depth, cells [S, N], edges [S, pairs] and head [N - 1]."""
  stages, branches = space.stages, space.branches
  body = tokens[1 : 1 + stages * branches**2].reshape(stages, branches**2)
  return tokens[0] + LEAST_DEPTH, body[:, :branches], body[:, branches:], tokens[1 + stages * branches**2 :]


def _existing(space: Space, depth: Any, cells: Any) -> tuple[Any, Any, Any]:
  """Which stages are live [S], and which branches exist in each stage and before it, bool [S, N]."""
  live = jnp.arange(space.stages) < depth
  now = live[:, None] & (cells > 0)
  stem = jnp.arange(space.branches) == 0
  return live, now, jnp.concatenate([stem[None], now[:-1]])


def _live(space: Space, tokens: Any) -> Any:
  """Which tokens count: those of live stages; edges between branches that exist, none of the first stage."""
  depth, cells, edges, _ = _read(space, jnp.asarray(tokens))
  live, now, before = _existing(space, depth, cells)
  to, source = np.array(pairs_of(space), int).reshape(-1, 2).T
  chosen = now[:, to] & before[:, source] & (jnp.arange(space.stages) > 0)[:, None]
  body = jnp.concatenate([jnp.broadcast_to(live[:, None], cells.shape), chosen], axis=1)
  last = now[depth - 1]
  return jnp.concatenate([jnp.ones(1, bool), body.reshape(-1), last[1:]])


def network_of(space: Space, tokens: Any) -> Network:
  """Reads tokens [T] as a network, repaired: the environment's part, of which the policy knows nothing.

  A branch that exists without a source gets an edge from the nearest finer branch of the stage before. Branch
  0 of every stage goes on from the one before, so that there always is one. A branch whose output nothing
  reads, up to the head, is absent: it would cost multiply-adds and change nothing.
  """
  depth, cells, edges, head = _read(space, jnp.asarray(tokens))
  live, now, before = _existing(space, depth, cells)
  n = space.branches
  to, source = np.array(pairs_of(space), int).reshape(-1, 2).T
  given = jnp.zeros((space.stages, n, n), bool).at[:, to, source].set(edges > 0)
  given = given | jnp.eye(n, dtype=bool)
  later = jnp.arange(space.stages) > 0
  given = given & (later[:, None, None] | jnp.eye(n, dtype=bool))
  found = given & now[:, :, None] & before[:, None, :]
  finer = before[:, None, :] & (np.arange(n)[None, :] < np.arange(n)[:, None])  # [S, to, from]
  nearest = jnp.max(jnp.where(finer, jnp.arange(n), 0), axis=-1)
  alone = now & ~jnp.any(found, axis=-1)
  found = found | (alone[:, :, None] & (jnp.arange(n) == nearest[:, :, None]))
  added = jnp.concatenate([jnp.ones(1, bool), now[depth - 1][1:] & (head > 0)])
  read = jnp.zeros((space.stages, n), bool)
  for stage in reversed(range(space.stages)):
    if stage + 1 < space.stages:  # by those of the next stage that are read themselves
      read = read.at[stage].set(jnp.any(found[stage + 1] & read[stage + 1][:, None], axis=0))
    read = read.at[stage].set(now[stage] & jnp.where(stage == depth - 1, added, read[stage]))
  return Network(live, jnp.where(read, cells, 0), found & read[:, :, None], added)


def on_host(network: Network) -> Network:
  """Returns the network as numpy arrays."""
  return Network(*(np.asarray(x) for x in network))


def tokens_of(space: Space, network: Network) -> np.ndarray:
  """Writes a network as tokens, int32 [T], in which nothing that is dead is set.

  Raises:
    ValueError: a network that is none of the space.
  """
  tokens = token_space(space)
  found = np.zeros(tokens.length, np.int64)
  depth = int(np.sum(network.live))
  found[0] = depth - LEAST_DEPTH
  width, pairs = space.branches**2, pairs_of(space)
  for stage in range(depth):
    start = 1 + stage * width
    found[start : start + space.branches] = network.cells[stage]
    if stage:
      given = [bool(network.edges[stage, to, source]) for to, source in pairs]
      found[start + space.branches : start + width] = given
  found[1 + space.stages * width :] = network.head[1:]
  live = np.asarray(tokens.live(jnp.asarray(found)))
  return np.where(live, found, 0).astype(np.int32)


def preset(space: Space, name: str, *, cells: int = 0) -> np.ndarray:
  """Returns the tokens of a network set by hand, all stages deep.

  single_branch: branch 0 alone. no_edges: all branches in all stages, each by itself; the head adds them up.
  all_edges: the same, and everything sent to everyone. staged: all edges, branches switched on one at a time,
  as in HRNet (of two stages the first has one branch, so that nothing is ever exchanged).

  Args:
    space: the space.
    name: of `PRESETS`.
    cells: of each branch in each stage; 0: half of the most, rounded up (single_branch: the most).

  Raises:
    ValueError: another name.
  """
  choose("preset", name, PRESETS)
  stages, n = space.stages, space.branches
  count = cells or (space.cells if name == "single_branch" else -(-space.cells // 2))
  last = {"single_branch": np.zeros(stages), "staged": np.linspace(0, n - 1, stages).round()}.get(name)
  last = np.full(stages, n - 1) if last is None else last
  there = np.arange(n)[None, :] <= last[:, None]
  edges = np.full((stages, n, n), name in ("all_edges", "staged"))
  return tokens_of(space, Network(np.ones(stages, bool), there * count, edges, np.ones(n, bool)))
