"""Updates of parameters sharded over two CPU devices: two_devices.py OUT.json"""

import json
import re
import sys
from pathlib import Path

from vita_jax.train.mesh import use_cpu_devices

sys.path.insert(0, str(Path(__file__).parents[1]))
COLLECTIVES = r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"


def main(out: Path) -> None:
  use_cpu_devices(2)
  import jax
  import jax.numpy as jnp
  from jax.sharding import NamedSharding
  from jax.sharding import PartitionSpec as P

  from optim.table import gradients_like, jit, make, named
  from vita_jax.optim import KINDS
  from vita_jax.train.mesh import make_mesh

  mesh = make_mesh({"seed": 1, "data": 1, "model": -1})
  specs = {"w": P(None, "model"), "b": P("model"), "s": P()}
  place = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
  params = {"w": jnp.ones((3, 8)), "b": jnp.ones(8), "s": jnp.ones(())}
  gradients = gradients_like(params, 3)
  found = {}
  for kind in KINDS:
    tx = make(kind)
    update = jit(tx.update)
    state, expected = tx.init(params), []
    for g in gradients:
      updates, state = update(g, state, params)
      expected.append(updates)

    shared = jax.device_put(params, place)
    # A state begins where `init` puts it; the first update moves it to its parameter.
    state, difference, largest = tx.init(shared), 0.0, 0.0
    for g, plain in zip(gradients, expected, strict=True):
      g = jax.device_put(g, place)
      updates, state = update(g, state, shared)
      for name, x in updates.items():
        assert x.sharding.is_equivalent_to(place[name], x.ndim), (kind, name, x.sharding)
        difference = max(difference, float(jnp.abs(jax.device_get(x) - jax.device_get(plain[name])).max()))
        largest = max(largest, float(jnp.abs(plain[name]).max()))
    text = update.lower(g, state, shared).compile().as_text()
    found[kind] = {
      "largest difference": difference,
      "largest update": largest,
      "collectives": sorted(set(re.findall(COLLECTIVES, text))),
      "shardings": {name: (_spec(x), x.ndim) for name, x in named(state).items()},
    }
  out.write_text(json.dumps(found))


def _spec(x):
  return list(getattr(x.sharding, "spec", ()))


if __name__ == "__main__":
  main(Path(sys.argv[1]))
