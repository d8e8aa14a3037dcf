"""A genotype: an architecture as a file that people can read, with the version of its space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.files import read_json
from vita_jax.search.branches.costs import EDGES
from vita_jax.search.branches.space import (
  LEAST_DEPTH,
  PRESETS,
  VERSION,
  Network,
  Space,
  network_of,
  on_host,
  preset,
  token_space,
  tokens_of,
)
from vita_jax.search.controller import sample
from vita_jax.search.mixture import strongest
from vita_jax.search.operations import OPERATIONS
from vita_jax.search.tokens import check_tokens

PLAIN, RANDOM = "plain", "random:"


class Genotype(NamedTuple):
  """An architecture.

  Attributes:
    space: of its tokens.
    tokens: int32 [T].
    cells: int32 [N, edges], the operation on each edge of each branch's cells; None: plain cells.
    facts: what is known of it, e.g. its score; JSON.
  """

  space: Space
  tokens: np.ndarray
  cells: np.ndarray | None = None
  facts: Mapping[str, Any] = {}

  @property
  def network(self) -> Network:
    """Its network level, repaired, of numpy."""
    return on_host(network_of(self.space, self.tokens))


def to_json(genotype: Genotype) -> dict[str, Any]:
  """Returns the content of a genotype's file; stages count from 1, branches from 0, the finest."""
  network = genotype.network
  depth, n = int(network.live.sum()), genotype.space.branches
  edges = [
    f"stage {stage + 1}: {source} -> {to}"
    for stage in range(1, depth)
    for to in range(n)
    for source in range(n)
    if to != source and network.edges[stage, to, source]
  ]
  operations: Any = PLAIN
  if genotype.cells is not None:
    operations = [[OPERATIONS[int(o)] for o in row] for row in genotype.cells]
  return {
    "version": VERSION,
    "space": genotype.space._asdict(),
    "cells": network.cells[:depth].tolist(),
    "edges": edges,
    "head": [b for b in range(1, n) if network.head[b]],
    "operations": operations,
    "facts": dict(genotype.facts),
  }


def of_json(content: Any, *, name: str = "the genotype") -> Genotype:
  """Reads the content of a genotype's file.

  Raises:
    ValueError: another version, something missing, or a network that is none of the space, e.g. one without
      its finest branch.
  """
  if not isinstance(content, Mapping) or "version" not in content:
    raise ValueError(f"{name} is no genotype: it has no version; launch/autopose/derive.py writes them")
  if content["version"] != VERSION:
    raise ValueError(
      f"{name} is of version {content['version']} of the space, this is version {VERSION}: derive it again"
    )
  try:
    space = Space(**{key: int(value) for key, value in content["space"].items()})
    network = _network(space, content)
    operations = content["operations"]
  except (KeyError, TypeError, ValueError, IndexError) as error:
    raise ValueError(f"{name} is damaged ({error!r}): derive it again") from error
  depth = len(content["cells"])
  if not LEAST_DEPTH <= depth <= space.stages:
    raise ValueError(f"{name} has {depth} stages: its space has {LEAST_DEPTH} to {space.stages}")
  for stage, counts in enumerate(network.cells[:depth]):
    if not 1 <= counts[0]:
      raise ValueError(
        f"{name} has no cell of branch 0 in stage {stage + 1}: without the finest branch there is no network;"
        " give it 1 at least"
      )
  tokens = tokens_of(space, network)
  try:
    check_tokens(token_space(space), tokens)
  except ValueError as error:
    raise ValueError(f"{name}: {error}") from error
  cells = None if operations == PLAIN else _cells(operations, space, name)
  found = Genotype(space, tokens, cells, dict(content.get("facts", {})))
  _check_joins(content, found.network, name)
  return found


def read_genotype(path: str, space: Space) -> Genotype:
  """Reads a genotype's file, or makes one in the given space.

  Args:
    path: a file of one genotype; FILE#NUMBER, one of several, from 0 on; one of `PRESETS`, of plain cells; or
      random:NUMBER, a uniform draw of network and cells. $NAME in a file's path is that environment variable.
    space: of what is made.

  Raises:
    FileNotFoundError: neither a file nor something that can be made.
    ValueError: see `of_json`, or a number that the file does not have.
  """
  if path in PRESETS:
    return Genotype(space, preset(space, path))
  if path.startswith(RANDOM) and path.removeprefix(RANDOM).isdigit():
    return random_genotype(space, int(path.removeprefix(RANDOM)))
  name, _, number = os.path.expandvars(path).partition("#")
  if not Path(name).expanduser().is_file():
    unset = ", where a variable is not set" if "$" in name else ""
    raise FileNotFoundError(
      f"no genotype {name}{unset}: give a file of launch/autopose/derive.py, random:NUMBER, or"
      f" {', '.join(PRESETS)}"
    )
  listed = read_genotypes(name)
  if len(listed) == 1 and not number:
    return listed[0]
  if not number.isdigit() or int(number) >= len(listed):
    raise ValueError(f"{name} has {len(listed)} genotypes: give {name}#0 to #{len(listed) - 1}")
  return listed[int(number)]


def random_genotype(space: Space, number: int) -> Genotype:
  """Draws an architecture uniformly: tokens among their allowed values, cells as those of random alphas."""
  network_key, cell_key = jax.random.split(jax.random.key(number))
  tokens = sample(network_key, token_space(space), None).tokens
  cells = strongest(jax.random.normal(cell_key, (space.branches, EDGES, len(OPERATIONS))))
  return Genotype(space, np.asarray(tokens), np.asarray(cells))


def read_genotypes(path: str) -> list[Genotype]:
  """Reads a file of one genotype, or of several under the key "genotypes".

  Raises:
    ValueError: see `of_json`.
  """
  content = read_json(Path(path).expanduser(), what="a genotype")
  listed = content.get("genotypes", [content])
  return [of_json(one, name=f"{path}#{i}" if len(listed) > 1 else path) for i, one in enumerate(listed)]


def _network(space: Space, content: Mapping[str, Any]) -> Network:
  rows = np.asarray(content["cells"])
  if rows.ndim != 2 or rows.shape[1] != space.branches or rows.dtype.kind not in "iu":
    raise ValueError(f"cells are whole numbers of {space.branches} branches for each stage")
  cells = np.zeros((max(space.stages, len(rows)), space.branches), np.int64)
  cells[: len(rows)] = rows
  edges = np.zeros((space.stages, space.branches, space.branches), bool)
  for text in content["edges"]:
    edges[_edge(text)] = True
  head = np.isin(np.arange(space.branches), [0, *content["head"]])
  return Network(np.arange(space.stages) < len(rows), cells[: space.stages], edges, head)


def _edge(text: str) -> tuple[int, int, int]:
  """Reads "stage 2: 0 -> 1" as (stage from 0, to, from)."""
  stage, _, rest = text.removeprefix("stage ").partition(":")
  source, to = rest.split("->")
  return int(stage) - 1, int(to), int(source)


def _check_joins(content: Mapping[str, Any], network: Network, name: str) -> None:
  """Refuses edges and branches that the network does not have: nothing is dropped in silence."""
  for branch in content["head"]:
    if not (0 <= branch < len(network.head) and network.head[branch]):
      raise ValueError(f"{name}: the head adds branch {branch}, which has no cells in the last stage")
  for stage, row in enumerate(content["cells"]):
    for branch, cells in enumerate(row):
      if cells and not network.cells[stage, branch]:
        raise ValueError(
          f"{name}: nothing reads branch {branch} of stage {stage + 1}, up to the head: set its cells to 0,"
          " and leave out its edges"
        )
  for text in content["edges"]:
    stage, to, source = place = _edge(text)
    if min(stage - 1, to, source) < 0 or to == source or not network.edges[place]:
      raise ValueError(
        f"{name}: the edge '{text}' joins nothing: from stage 2 on, edges go from a branch that has cells in"
        " the stage before to another one that has cells in this one"
      )


def _cells(operations: Any, space: Space, name: str) -> np.ndarray:
  rows = [list(row) for row in operations]
  if len(rows) != space.branches or any(len(row) != EDGES for row in rows):
    raise ValueError(
      f"{name} must have {EDGES} operations for each of {space.branches} branches, or '{PLAIN}'"
    )
  kinds = [
    [OPERATIONS.index(choose(f"operation in {name}", kind, OPERATIONS)) for kind in row] for row in rows
  ]
  return np.array(kinds, np.int32)
