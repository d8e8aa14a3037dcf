"""Evolutionary search for the channels that stay: the co-evolutionary compression of Shu et al. (ICCV 2019).

An individual is one bit for every channel of a graph. Each generation holds the best individual so far, and
others made by roulette-wheel selection, crossover of a segment of two individuals, or flipping a segment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from vita_jax.nn.channels import Graph


class Evolution(NamedTuple):
  """What a search found.

  Attributes:
    kept: group -> bool [channels], of the best individual.
    fitness: its fitness.
    best: the best fitness after each generation.
    mean: the mean fitness of each generation.
  """

  kept: dict[str, np.ndarray]
  fitness: float
  best: tuple[float, ...]
  mean: tuple[float, ...]


def evolve(
  fitness: Callable[[dict[str, np.ndarray]], float],
  graph: Graph,
  widths: Mapping[str, int],
  *,
  seed: int = 0,
  population: int = 32,
  generations: int = 50,
  selection: float = 0.2,
  crossover: float = 0.7,
  density: float = 0.5,
) -> Evolution:
  """Searches for the channels whose fitness is largest.

  Args:
    fitness: group -> bool [channels] to a positive number, e.g. `cec_fitness` of the network whose other
      channels are zero (`empty_channels`). Called once for each individual.
    graph: the channels. A residual stream that is one group has one mask for all its layers.
    widths: group -> number of channels, `channel_widths(params, graph)`.
    seed: of all random choices.
    population: individuals of a generation.
    generations: how many, the random first one included.
    selection: probability of copying an individual; a mutation has 1 - selection - crossover.
    crossover: probability of mixing two.
    density: probability of a 1 in the first generation.

  Raises:
    ValueError: widths of other groups than the graph's, fewer than two individuals, no generation,
      probabilities outside [0, 1] or that sum to more than 1, or a fitness that is not positive and finite.

  Examples:
    >>> from vita_jax.nn.channels import ChannelGroup
    >>> graph = (ChannelGroup("a", None, None, ()),)
    >>> found = evolve(lambda kept: 1 + kept["a"].sum(), graph, {"a": 6}, population=8, generations=40)
    >>> int(found.kept["a"].sum()), list(found.best) == sorted(found.best)
    (6, True)
  """
  if sorted(widths) != sorted(group.name for group in graph):
    raise ValueError("the widths are not those of the graph: give channel_widths(params, graph)")
  if population < 2 or generations < 1:
    raise ValueError(f"{generations} generations of {population}: give at least 1 of 2 individuals")
  if not all(0 <= p <= 1 for p in (selection, crossover, selection + crossover, density)):
    raise ValueError("selection, crossover and density are probabilities, the first two at most 1 together")
  rng = np.random.default_rng(seed)
  individuals = rng.random((population, sum(widths[g.name] for g in graph))) < density
  best: tuple[float, np.ndarray] | None = None
  bests, means = [], []
  for generation in range(generations):
    individuals = np.stack([_alive(bits, graph, widths) for bits in individuals])
    scores = np.array([_positive(fitness(split_bits(bits, graph, widths))) for bits in individuals])
    top = int(scores.argmax())
    if best is None or scores[top] > best[0]:
      best = float(scores[top]), individuals[top]
    bests.append(best[0])
    means.append(float(scores.mean()))
    if generation < generations - 1:
      children = [
        _child(rng, individuals, scores / scores.sum(), selection, crossover) for _ in range(population - 1)
      ]
      individuals = np.stack([best[1], *children])
  assert best is not None
  return Evolution(split_bits(best[1], graph, widths), best[0], tuple(bests), tuple(means))


def cec_fitness(
  gap: float, removed: int, *, cycle: float = 0.0, cycle_weight: float = 10.0, reward: float = 1e-3
) -> float:
  """Computes 500 / (gap + cycle_weight * cycle) + reward * removed, the fitness of the released code.

  Args:
    gap: sum over validation pictures of the squared difference between the discriminator's scores of what the
      masked and the full generator give.
    removed: channels.
    cycle: sum of mean |G_ba(G(x)) - x|; 0 without a generator for the other direction.
    cycle_weight: its weight.
    reward: for each channel that is removed.
  """
  return 500.0 / max(gap + cycle_weight * cycle, 1e-12) + reward * removed


def split_bits(bits: np.ndarray, graph: Graph, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
  """Splits the bits of an individual into group -> bool [channels]."""
  ends = np.cumsum([widths[group.name] for group in graph])[:-1]
  return {group.name: part for group, part in zip(graph, np.split(bits, ends), strict=True)}


def _child(
  rng: np.random.Generator, individuals: np.ndarray, chances: np.ndarray, selection: float, crossover: float
) -> np.ndarray:
  """A copy, a crossover or a mutation of individuals drawn in proportion to their fitness."""
  draw = rng.random()
  child = individuals[rng.choice(len(individuals), p=chances)].copy()
  if draw < selection:
    return child
  first, last = np.sort(rng.integers(0, child.size + 1, 2))
  if draw < selection + crossover:
    other = individuals[rng.choice(len(individuals), p=chances)]
    child[first:last] = other[first:last]
  else:
    child[first:last] = ~child[first:last]
  return child


def _alive(bits: np.ndarray, graph: Graph, widths: Mapping[str, int]) -> np.ndarray:
  """Sets the first bits of groups that would keep fewer channels than their minimum."""
  parts = []
  for group, part in zip(graph, split_bits(bits, graph, widths).values(), strict=True):
    part, lacking = part.copy(), group.minimum - int(part.sum())
    part[np.flatnonzero(~part)[: max(lacking, 0)]] = True
    parts.append(part)
  return np.concatenate(parts)


def _positive(value: float) -> float:
  if not (np.isfinite(value) and value > 0):
    raise ValueError(
      f"a fitness is {value}: it must be positive and finite, parents are drawn in proportion to it"
    )
  return float(value)
