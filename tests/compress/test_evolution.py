"""The evolutionary search: it keeps the best, improves, repeats itself, and obeys minima."""

import numpy as np
import pytest

from vita_jax.compress.channels import ChannelGroup, channel_widths, empty_channels
from vita_jax.compress.evolution import cec_fitness, evolve, split_bits

GRAPH = (ChannelGroup("a", None, None, ()), ChannelGroup("b", None, None, (), minimum=3))
WIDTHS = {"a": 12, "b": 8}
TARGET = np.random.default_rng(9).random(20) < 0.5


def agreement(kept):
  return 1.0 + np.sum(np.concatenate([kept["a"], kept["b"]]) == TARGET) ** 2


def test_it_improves_and_never_loses_the_best():
  calls = []
  found = evolve(
    lambda kept: calls.append(kept) or agreement(kept), GRAPH, WIDTHS, population=12, generations=25
  )
  assert len(calls) == 12 * 25 and all(kept["b"].sum() >= 3 for kept in calls)
  assert list(found.best) == sorted(found.best) and found.best[-1] == found.fitness == agreement(found.kept)
  assert found.fitness > max(agreement(kept) for kept in calls[:12])
  assert found.mean[-1] > found.mean[0]
  # The best is the first of the next generation.
  scores = [agreement(kept) for kept in calls]
  for generation in range(1, 25):
    assert scores[12 * generation] == found.best[generation - 1]


def test_a_seed_repeats_and_another_does_not():
  runs = [evolve(agreement, GRAPH, WIDTHS, seed=s, population=4, generations=3) for s in (0, 0, 1)]
  assert runs[0].mean == runs[1].mean != runs[2].mean


def test_a_residual_stream_has_one_mask(resnet):
  net, params, graph = resnet
  widths = channel_widths(params, graph)
  assert widths["down_1"] == 16 and sum(widths.values()) == 4 + 8 + 16 + 2 * 16 + 8 + 4
  kept = split_bits(np.arange(sum(widths.values())) % 2 == 0, graph, widths)
  empty = empty_channels(params, graph, kept)
  for layer in ("down_1", "block_0_b", "block_1_b"):
    assert (np.abs(empty[layer]["kernel"]).sum((0, 1, 2)) > 0).tolist() == kept["down_1"].tolist()


def test_the_fitness_of_the_released_code():
  assert cec_fitness(4.0, 100) == pytest.approx(500 / 4 + 0.1)
  assert cec_fitness(4.0, 0, cycle=0.1) == pytest.approx(100.0)
  assert np.isfinite(cec_fitness(0.0, 0))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"population": 1}, "at least 1 of 2"),
    ({"selection": 0.5, "crossover": 0.6}, "are probabilities"),
    ({"density": 1.5}, "are probabilities"),
    ({"widths": {"a": 12}}, "the widths are not those of the graph"),
    ({"graph": (*GRAPH, GRAPH[0])}, "the widths are not those of the graph"),
    ({"crossover": float("nan")}, "are probabilities"),
    ({"fitness": lambda kept: 0.0}, "a fitness is 0.0: it must be positive"),
  ],
)
def test_what_makes_no_sense_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    evolve(**{"fitness": agreement, "graph": GRAPH, "widths": WIDTHS, "generations": 1} | options)
