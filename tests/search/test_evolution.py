"""Ageing evolution: children are neighbours of parents, the oldest go, and the best is found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from search.small import SPACE, all_architectures

from vita_jax.search import check_tokens, empty_population, insert, propose
from vita_jax.search.evolution import mutated


def test_a_mutation_changes_one_live_token_and_draws_what_comes_to_life():
  keys = jax.random.split(jax.random.key(0), 60)
  change = jax.jit(jax.vmap(lambda key, parent: mutated(key, SPACE, parent), in_axes=(0, None)))
  for parent in all_architectures():
    children = np.asarray(change(keys, jnp.asarray(parent)))
    for child in np.unique(children, axis=0):
      check_tokens(SPACE, child)
      changed = np.flatnonzero(child != parent)
      assert len(changed) == 1 or (changed.tolist() == [1, 2]) or child[1] != parent[1]
    assert len(np.unique(children[:, 0])) == 2 and len(np.unique(children[:, 1])) == 2


def test_empty_places_are_filled_first_and_then_the_oldest_go():
  population = empty_population(SPACE, 4)
  tokens = jnp.asarray(all_architectures())
  population = insert(population, tokens[:2], jnp.array([1.0, 2.0]))
  population = insert(population, tokens[2:4], jnp.array([3.0, 4.0]))
  assert sorted(population.fitness.tolist()) == [1, 2, 3, 4]
  population = insert(population, tokens[4:6], jnp.array([0.5, 0.6]))
  np.testing.assert_allclose(sorted(population.fitness.tolist()), [0.5, 0.6, 3, 4])


def test_it_finds_the_best_of_the_space():
  every = jnp.asarray(all_architectures())
  fitness = jnp.arange(len(every), dtype=jnp.float32)

  def score(one):
    return jnp.sum(jnp.where((every == one).all(axis=1), fitness, 0.0))

  def step(population, key):
    children = propose(key, SPACE, population, 2, tournament=2)
    return insert(population, children, jax.vmap(score)(children)), None

  keys = jax.random.split(jax.random.key(0), 40)
  population, _ = jax.lax.scan(step, empty_population(SPACE, 6), keys)
  assert float(population.fitness.max()) == len(every) - 1


def test_one_place_is_refused():
  with pytest.raises(ValueError, match="at least 2 places"):
    empty_population(SPACE, 1)
