"""The space: draws are networks after repair, tokens and genotypes are one, presets are what they say."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.search import check_tokens, sample
from vita_jax.search.branches.genotype import Genotype, of_json, read_genotype, to_json
from vita_jax.search.branches.space import (
  PRESETS,
  Space,
  network_of,
  on_host,
  preset,
  token_space,
  tokens_of,
)

SPACES = (Space(), Space(2, 3, 2), Space(3, 1, 1))


def _drawn(space, count, seed=0):
  tokens = token_space(space)
  keys = jax.random.split(jax.random.key(seed), count)
  return np.asarray(jax.jit(jax.vmap(lambda key: sample(key, tokens, None).tokens))(keys))


@pytest.mark.parametrize("space", SPACES)
def test_every_draw_is_a_network_after_repair(space):
  networks = on_host(jax.jit(jax.vmap(lambda t: network_of(space, t)))(_drawn(space, 200)))
  off = ~np.eye(space.branches, dtype=bool)
  for live, cells, edges, head in zip(*networks, strict=True):
    depth = int(live.sum())
    assert live[:depth].all() and 2 <= depth <= space.stages
    there = cells > 0
    assert there[:depth, 0].all() and not there[depth:].any()
    before = np.concatenate([np.arange(space.branches)[None] == 0, there[:-1]])
    # Every branch has a source, and every source and receiver exists.
    assert (edges.any(axis=2) == there).all()
    assert not (edges & ~before[:, None, :]).any() and not (edges & ~there[:, :, None]).any()
    assert (np.diagonal(edges, axis1=1, axis2=2) == (there & before)).all()
    assert (edges[0] & off).sum() == there[0, 1:].sum()  # the first stage: from the stem alone
    assert head[0] and not (head & ~there[depth - 1]).any()


def test_an_orphan_gets_an_edge_from_the_nearest_finer_branch():
  space = Space(2, 3, 2)
  tokens = preset(space, "no_edges")
  tokens[token_space(space).names.index("cells of branch 2 in stage 1")] = 0
  network = on_host(network_of(space, tokens))
  assert np.argwhere(network.edges[1] & ~np.eye(3, dtype=bool)).tolist() == [[2, 1]]


@pytest.mark.parametrize("space", SPACES[:2])
def test_tokens_and_genotypes_say_the_same_network(space):
  rng = np.random.default_rng(0)
  for tokens in _drawn(space, 4, seed=1):
    check_tokens(token_space(space), tokens)
    cells = rng.integers(0, 8, (space.branches, 6)).astype(np.int32)
    genotype = Genotype(space, tokens, cells, {"score": 0.5})
    again = of_json(to_json(genotype))
    for found, wanted in zip(again.network, genotype.network, strict=True):
      np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(again.cells, cells)
    assert again.facts == {"score": 0.5} and again.space == space
    canonical = tokens_of(space, genotype.network)
    np.testing.assert_array_equal(tokens_of(space, on_host(network_of(space, canonical))), canonical)


def test_nothing_is_there_that_the_head_does_not_read():
  """Multiply-adds of dead branches would be counted, and shrink the living ones where all cost the same."""
  space, dropped = Space(3, 3, 2), 0
  for tokens in _drawn(space, 60, seed=3):
    network = on_host(network_of(space, tokens))
    depth = int(network.live.sum())
    read = network.head & (network.cells[depth - 1] > 0)
    for stage in reversed(range(depth)):
      there = network.cells[stage] > 0
      assert (there == read).all()
      assert not network.edges[stage][~there].any()
      read = network.edges[stage].any(axis=0) & (network.cells[stage - 1] > 0)
    wanted = tokens[1 : 1 + space.stages * space.branches**2].reshape(space.stages, -1)[:, : space.branches]
    dropped += ((wanted[:depth] > 0) & (network.cells[:depth] == 0)).any()
  assert dropped > 10  # draws with dead branches are no rarity


def test_masked_tokens_depend_on_earlier_ones_alone():
  space = Space(3, 3, 2)
  tokens = token_space(space)
  every = jax.jit(jax.vmap(tokens.live))
  earlier = np.tri(tokens.length, k=-1, dtype=bool)  # of token t those before it
  for one in _drawn(space, 5, seed=2):
    cut = np.asarray(every(jnp.where(earlier, one, 0)))
    live = np.asarray(every(jnp.asarray(one)[None]))[0]
    assert (np.diagonal(cut) == live).all()


def test_presets_are_what_they_say():
  space = Space(4, 4, 3)
  found = {name: on_host(network_of(space, preset(space, name))) for name in PRESETS}
  single, staged = found["single_branch"], found["staged"]
  assert single.cells.tolist() == [[3, 0, 0, 0]] * 4 and single.edges.sum() == 4 and single.head.sum() == 1
  assert (staged.cells > 0).sum(axis=1).tolist() == [1, 2, 3, 4]
  assert found["all_edges"].edges[1:].all() and found["no_edges"].head.all()
  off = ~np.eye(4, dtype=bool)
  assert not (found["no_edges"].edges[1:] & off).any()
  assert (found["no_edges"].cells == found["all_edges"].cells).all()


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"version": 2}, "is of version 2 of the space, this is version 1"),
    ({"cells": [[0, 0, 0], [1, 0, 0]]}, "no cell of branch 0 in stage 1"),
    ({"cells": [[1, 0, 0]]}, "has 1 stages"),
    ({"cells": [[1, 0], [1, 0]]}, "is damaged"),
    ({"cells": [[9, 0, 0], [1, 0, 0]]}, "cells of branch 0 in stage 1 is 9"),
    ({"operations": [["sep_3"] * 6] * 2}, "6 operations for each of 3 branches"),
    ({"operations": [["sep3"] * 6] * 3}, "did you mean 'sep_3'"),
    ({"edges": ["stage two"]}, "is damaged"),
    ({"edges": ["stage 0: 0 -> 1"]}, "the edge 'stage 0: 0 -> 1' joins nothing"),
    ({"edges": ["stage 1: 0 -> 1"]}, "the edge 'stage 1: 0 -> 1' joins nothing"),
    ({"edges": ["stage 2: 1 -> 1"]}, "joins nothing"),
    ({"edges": ["stage 2: 0 -> 2"], "cells": [[1, 1, 0], [1, 1, 0]], "head": [1]}, "joins nothing"),
    ({"head": []}, "nothing reads branch 1 of stage 2, up to the head: set its cells to 0"),
    ({"head": [2], "cells": [[1, 1, 1], [1, 1, 0]], "edges": []}, "the head adds branch 2"),
    ({"head": [3]}, "the head adds branch 3"),
  ],
)
def test_genotypes_that_are_none_are_refused_in_one_line(change, says):
  space = Space(2, 3, 2)
  content = {**to_json(Genotype(space, preset(space, "all_edges"))), **change}
  with pytest.raises(ValueError, match=says) as error:
    of_json(content)
  assert "\n" not in str(error.value)


def test_random_genotypes_are_drawn_by_their_number():
  space = Space(2, 3, 2)
  one, same, other = (read_genotype(f"random:{n}", space) for n in (0, 0, 1))
  np.testing.assert_array_equal(one.tokens, same.tokens)
  np.testing.assert_array_equal(one.cells, same.cells)
  assert not np.array_equal(one.tokens, other.tokens) and one.cells.any()
  check_tokens(token_space(space), one.tokens)


def test_a_genotype_that_is_not_there_is_told_what_there_is(tmp_path):
  with pytest.raises(FileNotFoundError, match="single_branch"):
    read_genotype(str(tmp_path / "none.json"), Space())


def test_a_genotype_may_lie_where_a_variable_says(tmp_path, monkeypatch):
  space = Space(2, 2, 1)
  (tmp_path / "one.json").write_text(json.dumps(to_json(read_genotype("random:3", space))))
  monkeypatch.setenv("SOME_RUNS", str(tmp_path))
  found = read_genotype("$SOME_RUNS/one.json", space)
  np.testing.assert_array_equal(found.tokens, read_genotype("random:3", space).tokens)
  monkeypatch.delenv("SOME_RUNS")
  with pytest.raises(FileNotFoundError, match="SOME_RUNS/one.json, where a variable is not set: give"):
    read_genotype("$SOME_RUNS/one.json", space)
