"""The steps of ASG that `make gpu` times: fine-tuning with the proxy, as it is and with a cached teacher."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.one_step import Step
from vita_jax.nn import efficientnet
from vita_jax.nn.policy import uniform_theta
from vita_jax.nn.pretrained import GROUPS, Pretrained
from vita_jax.optim.groups import group_by_pattern
from vita_jax.optim.layerwise import Settings
from vita_jax.papers.asg.model import Nets, first_weights
from vita_jax.papers.asg.rates import grouped_optimizer, windowed_optimizer
from vita_jax.papers.asg.recipe import default_config, recipe_of
from vita_jax.papers.asg.steps import take_step

BATCH, SIDE = 32, 64
# What a step is measured with: (proxy, cached teacher, a policy that decides).
KINDS = {
  "plain": (False, False, False),
  "proxy": (True, False, False),
  "cached teacher": (True, True, False),
  "policy": (True, False, True),
}


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: 4 pictures of 64 x 64, for a CPU, else 32 of 224 x 224."""
  batch, side = (4, 64) if small else (BATCH, 224)
  title = f"EfficientNet-Lite0, {batch} x {side}^2"
  return [
    Step(f"asg {kind}, {title}", functools.partial(finetuning, kind, batch, side))
    for kind in ("proxy", "policy")
  ]


def finetuning(kind: str, batch: int = BATCH, side: int = SIDE, form: str = "top") -> tuple:
  """Makes (step, state, batch) of fine-tuning on noise, the network's weights drawn."""
  proxy, cached, decides = KINDS[kind]
  strength = {"proxy.weight": 0.1} if proxy else {}
  recipe = recipe_of(default_config("proxy" if proxy else "backbone_x01", {"data.size": side, **strength}))
  net = Pretrained("efficientnet_lite0", size=side, form=form)
  nets = Nets(net, False, 10, 512, group_by_pattern(GROUPS["efficientnet_lite0"]), drawn())
  params, teacher = first_weights(nets, jax.random.key(0))
  make: Any = functools.partial(grouped_optimizer, recipe, nets, 500)
  if decides:
    settings = Settings(epoch=125, steps=500, head=nets.observed, kl_weight=0.1)
    make = functools.partial(windowed_optimizer, recipe, nets, settings, uniform_theta(nets.policy))
  optimizer = make()
  rng = np.random.default_rng(0)
  pictures = {
    "image": rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8),
    "label": rng.integers(0, 10, batch).astype(np.int32),
  }
  if cached:
    pictures["old_logits"] = rng.normal(size=(batch, 1000)).astype(np.float16)

  def step(state: dict[str, Any], batch: Any, t: jax.Array) -> tuple[dict[str, Any], dict]:
    del t
    taken = take_step(recipe, nets, optimizer, state["params"], state["tx"], state["teacher"], batch)
    return {**state, "params": taken.params, "tx": taken.tx}, {}

  return step, {"params": params, "tx": optimizer.init(params), "teacher": teacher}, pictures


def drawn() -> Any:
  """Draws the variables of EfficientNet-Lite0 as a pretrained network's tree, without compiling anything."""
  module = efficientnet.EfficientNetLite0(form="native", norm="batch")
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
  rng = np.random.default_rng(0)

  def one(path: Any, x: Any) -> np.ndarray:
    kernel = path[-1].key == "kernel"
    if kernel:
      return rng.normal(0, (2 / max(1, int(np.prod(x.shape[:-1])))) ** 0.5, x.shape).astype(np.float32)
    return np.full(x.shape, float(path[-1].key in ("scale", "var")), np.float32)

  variables = jax.tree_util.tree_map_with_path(one, shapes)
  params = dict(variables["params"])
  return {"old": params.pop("classifier"), "trunk": params, "stats": variables["batch_stats"]}
