"""Views of one mesh spread over two CPU devices against one device: prints the largest differences."""

import json

from vita_jax.train.mesh import use_cpu_devices

use_cpu_devices(2)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from vita_jax import render  # noqa: E402
from vita_jax.train.mesh import make_mesh  # noqa: E402

devices = make_mesh({"seed": 1, "data": 2, "model": 1})
rng = np.random.default_rng(0)
mesh = render.Mesh(jnp.asarray(rng.uniform(-1, 1, (60, 3)), jnp.float32), jnp.arange(60).reshape(-1, 3))
cameras = [render.perspective_camera(render.orbit(3.0, 90.0 * i), near=1.0) for i in range(4)]
views = jax.tree.map(lambda *x: jnp.stack(x), *cameras)


def run(vertices, views):
  def one(camera):
    body = mesh._replace(vertices=vertices)
    hard = render.depth_map(body, camera, (16, 16))
    return hard + render.silhouette(body, camera, (16, 16), sigma=1e-3)

  pictures = jax.vmap(one)(views)
  return jnp.mean(pictures**2), pictures


both = jax.jit(jax.value_and_grad(run, has_aux=True))
(_, one), slope = both(mesh.vertices, views)
spread = jax.device_put(views, NamedSharding(devices, P("data")))
vertices = jax.device_put(mesh.vertices, NamedSharding(devices, P()))
(_, many), other = both(vertices, spread)
far = [float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in ((one, many), (slope, other))]
sharded = (
  len({shard.device for shard in many.addressable_shards}) == 2 and not many.sharding.is_fully_replicated
)
print(json.dumps({"devices": jax.device_count(), "sharded": sharded, "value": far[0], "gradient": far[1]}))
