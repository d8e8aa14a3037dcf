"""Two propagations on Citeseer over N CPU devices against one device: prints the largest differences."""

import json
import sys

from vita_jax.train.mesh import use_cpu_devices

use_cpu_devices(int(sys.argv[1]))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from vita_jax.data import load_graph  # noqa: E402
from vita_jax.nn import edge_shards, graph  # noqa: E402
from vita_jax.train.mesh import make_mesh  # noqa: E402

n = int(sys.argv[1])
mesh = make_mesh({"seed": 1, "data": n, "model": 1})
citeseer = load_graph("citeseer")
whole = graph.adjacency(citeseer.edges, citeseer.self_loops, len(citeseer.labels), pad_multiple=n)
h = np.random.default_rng(0).normal(size=(len(whole.row_starts) - 1, 16)).astype(np.float32)
over = NamedSharding(mesh, P("data"))
shards = edge_shards.edge_shards(whole, n)
placed = jax.device_put(shards, over)
found = {"devices": n, "value": 0.0, "gradient": 0.0}


def value(propagate):
  def run(h):
    y = propagate(jnp.tanh(propagate(h)))
    return jnp.sum(y * jnp.cos(y)), y

  return jax.jit(jax.value_and_grad(run, has_aux=True))


far = lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max())  # noqa: E731
for weight in (whole.gcn, whole.mean):  # the second one is not symmetric
  weights = jax.device_put(edge_shards.sharded_weights(shards, weight), over)
  many = lambda h: edge_shards.propagate(placed, weights, h, mesh=mesh)  # noqa: B023, E731
  (_, y), gradient = value(lambda h: graph.propagate(whole, h, weight))(h)  # noqa: B023
  (_, z), other = value(many)(jax.device_put(h, over))
  found["value"] = max(found["value"], far(y, z))
  found["gradient"] = max(found["gradient"], far(gradient, other))
found["sharded"] = not z.sharding.is_fully_replicated
text = jax.jit(many).lower(jax.device_put(h, over)).compile().as_text()
found["gathers"] = sum(" all-gather(" in line or " all-gather-start(" in line for line in text.splitlines())
print(json.dumps(found))
