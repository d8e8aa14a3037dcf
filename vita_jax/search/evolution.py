"""Ageing evolution (Real et al., AAAI 2019) over tokens, as a drop-in for a controller: all inside a program.

Candidates are drawn uniformly until the population is full. From then on each is a mutation of the best of a
few individuals drawn at random, and takes the place of the oldest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.search.controller import sample, walk
from vita_jax.search.tokens import TokenSpace

EMPTY = -1e9  # the fitness of a place that nobody has


class Population(NamedTuple):
  """Individuals with their fitness.

  Attributes:
    tokens: int32 [size, T].
    fitness: float32 [size].
    born: int32 [size], when each came in; -1: the place is empty.
  """

  tokens: jax.Array
  fitness: jax.Array
  born: jax.Array


def empty_population(space: TokenSpace, size: int) -> Population:
  """Returns places for so many individuals.

  Raises:
    ValueError: fewer than two.
  """
  if size < 2:
    raise ValueError(f"a population of {size} cannot evolve: give at least 2 places")
  born = jnp.full(size, -1, jnp.int32)
  return Population(jnp.zeros((size, space.length), jnp.int32), jnp.full(size, EMPTY), born)


def propose(
  key: jax.Array, space: TokenSpace, population: Population, count: int, *, tournament: int = 4
) -> jax.Array:
  """Makes candidates, int32 [count, T]: uniform ones while a place is empty, else mutations.

  Args:
    key: of all random choices.
    space: the tokens.
    population: the parents.
    count: how many.
    tournament: how many individuals are drawn, the best of which is the parent.
  """
  size = population.fitness.shape[0]

  def one(key: jax.Array) -> jax.Array:
    draw, change, fresh = jax.random.split(key, 3)
    drawn = jax.random.randint(draw, (tournament,), 0, size)
    parent = drawn[jnp.argmax(population.fitness[drawn])]
    child = mutated(change, space, population.tokens[parent])
    return jnp.where(jnp.any(population.born < 0), sample(fresh, space, None).tokens, child)

  return jax.vmap(one)(jax.random.split(key, count))


def insert(population: Population, tokens: jax.Array, fitness: jax.Array) -> Population:
  """Puts candidates [m, T] with their fitness [m] in the oldest places, empty ones first."""
  places = jnp.argsort(population.born)[: fitness.shape[0]]
  return Population(
    population.tokens.at[places].set(tokens),
    population.fitness.at[places].set(fitness),
    population.born.at[places].set(jnp.max(population.born) + 1),
  )


def mutated(key: jax.Array, space: TokenSpace, tokens: jax.Array) -> jax.Array:
  """Changes one live token [T] to another allowed value; tokens that come to life by it are drawn."""
  which, keys = jax.random.split(key)
  drawn = jax.random.split(keys, space.length)
  before = space.live(tokens)
  open_tokens = before & jnp.asarray(space.allowed.sum(axis=1) > 1)
  site = jax.random.categorical(which, jnp.where(open_tokens, 0.0, EMPTY))

  def pick(t: Any, logits: jax.Array) -> jax.Array:
    own = jnp.arange(space.most) == tokens[t]
    new = jax.random.categorical(drawn[t], jnp.where((t == site) & own, EMPTY, logits))
    return jnp.where(before[t] & (t != site), tokens[t], new)

  return walk(space, None, pick).tokens
