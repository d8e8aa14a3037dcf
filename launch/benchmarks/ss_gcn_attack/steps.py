"""Worker: Nettack on one node after the other. Arguments: GRAPH BUDGET links|both."""

from __future__ import annotations

import itertools
import resource
import sys

import numpy as np

from benchmarks.measure import now, serve, since
from vita_jax.attacks import nettack, surrogate
from vita_jax.data import load_graph

WORDS_PER_LINK = 10


def main(name: str, budget: int, flip: str) -> None:
  graph = load_graph(name)
  weight = surrogate.train_surrogate(graph)
  start = now()
  view = nettack.prepare(graph, weight, features=flip == "both")
  prepared = since(start).wall
  nodes = itertools.cycle(np.flatnonzero(graph.test_mask).tolist())
  n_words = WORDS_PER_LINK * budget if flip == "both" else 0

  def attack(n: int) -> None:
    for node in itertools.islice(nodes, n):
      nettack.nettack(view, node, int(graph.labels[node]), n_links=budget, n_words=n_words)

  attack(2)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30
  serve(attack, prepared=f"{prepared:.2f} s", peak=f"{peak:.2f} GiB")


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
