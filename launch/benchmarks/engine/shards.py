"""What propagation over a graph costs when its edges are spread over several devices.

One process per number of CPU devices: random graphs of mean degree 8, features of width 16, forward and
gradient of one propagation. Devices of one CPU share its cores: the seconds show the overhead, the bytes
what would travel between machines.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import answer, print_table

WIDTH, DEGREE = 16, 8
DEVICES = (1, 2, 4)


def main(*, sizes: Sequence[int] = (100_000, 400_000, 1_000_000, 4_000_000), repeats: int = 5) -> None:
  rows = [
    [
      "directed edges",
      "devices",
      "ms, forward",
      "ms, gradient",
      "padded edges",
      "MB gathered",
      "MB of edges",
      "MB of features",
    ]
  ]
  for size in sizes:
    for n in DEVICES:
      found = answer("engine.shards", n, size, repeats)
      times = [f"{found[name] * 1e3:.2f}" for name in ("forward", "gradient")]
      megabytes = [f"{found[name] / 1e6:.2f}" for name in ("gathered", "edges", "features")]
      rows.append([f"{found['count']:,}", str(n), *times, f"{found['padding']:.1%}", *megabytes])
  print_table(f"One propagation, width {WIDTH}; bytes per device and propagation; median of {repeats}", rows)


def _serve(n: int, n_edges: int, repeats: int) -> dict[str, float]:
  from vita_jax.train.mesh import make_mesh, use_cpu_devices

  use_cpu_devices(n)
  import jax
  import jax.numpy as jnp
  from jax.sharding import NamedSharding
  from jax.sharding import PartitionSpec as P

  from vita_jax.nn import edge_shards, graph

  n_nodes = n_edges // DEGREE
  pairs = np.random.default_rng(0).integers(n_nodes, size=(n_edges // 2, 2))
  pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
  whole = graph.adjacency(pairs, [], n_nodes, pad_multiple=n)
  mesh = make_mesh({"seed": 1, "data": n, "model": 1})
  over = NamedSharding(mesh, P("data"))
  host = edge_shards.edge_shards(whole, n)
  weights = jax.device_put(edge_shards.sharded_weights(host, whole.gcn), over)
  shards = jax.device_put(host, over)
  count = len(whole.row_starts) - 1
  h = jax.device_put(np.ones((count, WIDTH), np.float32), over)
  forward = jax.jit(lambda h: edge_shards.propagate(shards, weights, h, mesh=mesh))
  gradient = jax.jit(jax.grad(lambda h: jnp.sum(forward(h) ** 2)))

  def median(run):
    jax.block_until_ready(run(h))
    spent = []
    for _ in range(repeats):
      began = time.perf_counter()
      jax.block_until_ready(run(h))
      spent.append(time.perf_counter() - began)
    return float(np.median(spent))

  return {
    "count": len(whole.senders),
    "forward": median(forward),
    "gradient": median(gradient),
    "padding": host.senders.size / len(whole.senders) - 1,
    "gathered": count * WIDTH * 4 * (n - 1) / n,
    "edges": sum(x.nbytes for x in (*host, *weights)) / n,
    "features": count * WIDTH * 4,
  }


if __name__ == "__main__":
  print(json.dumps(_serve(*map(int, sys.argv[1:]))))
