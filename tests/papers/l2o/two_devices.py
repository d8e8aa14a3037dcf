"""Meta-gradients of four optimizations side by side, on one CPU device and on two: two_devices.py OUT.json"""

import json
import sys
from pathlib import Path

from vita_jax.train.mesh import AXES, use_cpu_devices

KINDS = ("l2o_dm",)


def main(out: Path) -> None:
  use_cpu_devices(2)
  import jax
  import numpy as np
  import optax

  from vita_jax.papers import l2o
  from vita_jax.papers.l2o.recipe import default_config
  from vita_jax.train.mesh import make_mesh
  from vita_jax.train.programs import make_programs

  meshes = {
    1: jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), AXES),
    2: make_mesh({"seed": 1, "data": -1, "model": 1}),
  }

  def gradient(kind, mesh):
    """(what Adam's first moment is after one step, a tenth of the meta-gradient; where x lies)."""
    config = default_config(kind, "plain", variants=("plain",))
    config.update({"meta_batch": 4, "tasks": "vmap"})
    config.optimizee.name = "digits_mlp"
    experiment = l2o.build(config)
    programs = make_programs(experiment, mesh, on_nonfinite="stop")
    seed = programs.place(np.uint32(0))
    state = programs.init(seed)
    chunk = programs.chunk(experiment.stages[0], state)
    state, *_ = chunk(state, seed, programs.cursor(), programs.place(np.int32(1)))
    moment = jax.device_get(optax.tree.get(state["meta"]["self"], "mu"))
    x = jax.tree.leaves(state["task"]["digits_mlp"].x)[0]
    return moment, x.sharding.shard_shape(x.shape)[0]

  found = {}
  for kind in KINDS:
    (one, all_of_x), (two, part_of_x) = (gradient(kind, mesh) for mesh in meshes.values())
    leaves = list(zip(*map(jax.tree.leaves, (one, two)), strict=True))
    found[kind] = {
      "largest relative difference": max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in leaves),
      "smallest largest entry": min(float(np.abs(a).max()) for a, _ in leaves),
      "optimizations per device": [all_of_x, part_of_x],
    }
  out.write_text(json.dumps(found))


if __name__ == "__main__":
  main(Path(sys.argv[1]))
