"""Worker: HRNet in vita_jax. Argument: a kind of `KINDS`, a forward pass or a training step."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.measure import serve

RATE = 1e-3


class Kind(NamedTuple):
  """What is measured: options of the network, (height, width) of its pictures, whether a step trains it."""

  options: dict[str, Any]
  size: tuple[int, int]
  train: bool


# The reduced network is of the size that a CPU trains in minutes.
KINDS = {
  "forward": Kind({}, (256, 192), False),
  "step": Kind(dict(width=16, modules=(1, 1, 1), blocks=1, bottlenecks=1, stem=16), (64, 64), True),
}
BATCH = {"forward": 1, "step": 24}


def make(kind: str, form: str = "top") -> tuple[Callable[..., Any], Any, Any]:
  """Makes (function, its first argument, its second): forward(variables, images), or step(state, batch)."""
  import jax
  import jax.numpy as jnp
  import numpy as np
  import optax

  from vita_jax.nn.hrnet import HRNet
  from vita_jax.pose.heatmaps import heatmap_loss

  one, rng = KINDS[kind], np.random.default_rng(0)
  net = HRNet(**one.options, form=form)
  height, width = one.size
  images = rng.normal(size=(BATCH[kind], height, width, 3)).astype(np.float32)
  shapes = jax.eval_shape(net.init, jax.random.key(0), images)
  variables = jax.tree_util.tree_map_with_path(functools.partial(_drawn, rng), shapes)
  if not one.train:
    return net.apply, jax.tree.map(jnp.asarray, variables), images
  optimizer = optax.adam(RATE)
  targets = rng.random((BATCH[kind], height // 4, width // 4, 17), np.float32)
  weights = np.ones((BATCH[kind], 17), np.float32)

  def step(state: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    def loss(params: Any) -> tuple[jax.Array, Any]:
      variables = {"params": params, "batch_stats": state["stats"]}
      maps, moved = net.apply(variables, batch["image"], train=True, mutable=["batch_stats"])
      return heatmap_loss(maps, batch["targets"], batch["weights"]), moved["batch_stats"]

    (_, stats), gradients = jax.value_and_grad(loss, has_aux=True)(state["params"])
    updates, tx = optimizer.update(gradients, state["tx"])
    return {"params": optax.apply_updates(state["params"], updates), "stats": stats, "tx": tx}

  params = variables["params"]
  state = {"params": params, "stats": variables["batch_stats"], "tx": optimizer.init(params)}
  batch = {"image": images, "targets": targets, "weights": weights}
  return step, jax.tree.map(jnp.asarray, state), batch


def as_step(kind: str, form: str = "top") -> tuple[Callable[..., Any], Any, Any]:
  """Makes (step, state, batch) for `make gpu`: step(state, batch, t) -> (state, metrics)."""
  import jax.numpy as jnp

  function, first, second = make(kind, form)
  if KINDS[kind].train:
    return lambda state, batch, t: (function(state, batch), {}), first, second
  state = {"variables": first, "peak": jnp.zeros(())}

  def forward(state: dict[str, Any], batch: Any, t: Any) -> tuple[dict[str, Any], dict]:
    return {**state, "peak": jnp.max(function(state["variables"], batch))}, {}

  return forward, state, second


def _drawn(rng: Any, path: Any, x: Any) -> Any:
  """A leaf of the variables, drawn without compiling `init`: kernels normal, scales and variances 1."""
  import numpy as np

  if path[-1].key == "kernel":
    return rng.normal(0, (2 / np.prod(x.shape[:-1])) ** 0.5, x.shape).astype(np.float32)
  return np.full(x.shape, float(path[-1].key in ("scale", "var")), np.float32)


def main(kind: str) -> None:
  """Serves forward passes or steps."""
  import jax

  from vita_jax.base.memory import keep_freed_memory

  keep_freed_memory()  # as launch/train.py does
  function, first, second = make(kind)
  second = jax.device_put(second)
  run = jax.jit(function, donate_argnums=0 if KINDS[kind].train else ())

  def advance(n: int) -> None:
    nonlocal first
    for _ in range(n):
      found = run(first, second)
      first = found if KINDS[kind].train else first
    jax.block_until_ready(found)

  advance(2)
  serve(advance)


if __name__ == "__main__":
  main(sys.argv[1])
