"""The steps of MM-Hand that `make gpu` times: the generator and both judges, and drawing new poses."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.one_step import Step, of_config
from vita_jax import cli
from vita_jax.base.files import load_python_file
from vita_jax.hands import joints_map

CONFIG = "configs/mm_hand/custom.py"
SMALL = {"data.size": 64}  # the rest is the config's: width 12, 3 blocks, batch 4
FULL = {
  "data.size": 256,
  "generator.width": 64,
  "generator.blocks": 9,
  "generator.scan": True,
  "generator.remat": True,
  "discriminator.width": 64,
  "train.batch": 3,
}


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: the networks of the small configs, for a CPU, else the paper's."""
  options, title = (SMALL, "width 12, 4 x 64^2") if small else (FULL, "the paper's networks, 3 x 256^2")
  return [
    Step(f"mm_hand step, {title}", functools.partial(training, "mm_hand", options)),
    Step(f"mm_hand drawing, {title}", functools.partial(drawing, options)),
  ]


def training(method: str, options: dict[str, Any]) -> tuple:
  """Makes (step, state, batch) of the last stage, on drawn sticks."""
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "hands.npz"
    np.savez(path, **sticks(options["data.size"]))
    return of_config(f"{CONFIG}:{method}", stage=-1, **{"data.folder": str(path), **options})()


def drawing(options: dict[str, Any]) -> tuple:
  """Makes a step that draws each picture again in the pose of the next one."""
  from vita_jax.papers.mm_hand.guidance import Pose
  from vita_jax.papers.mm_hand.model import init, nets_of, transfer
  from vita_jax.papers.mm_hand.recipe import recipe_of

  config = load_python_file(cli.find_config(CONFIG)).get_config()
  config.update_from_flattened_dict({**options, "generator.remat": False})
  recipe = recipe_of(config)
  nets, hands = nets_of(recipe), sticks(recipe.size)
  n = recipe.train.batch
  uv, z = hands["uv"][:n], hands["xyz"][:n, :, 2]
  first, second = Pose(uv, z), Pose(np.roll(uv, 1, axis=0), np.roll(z, 1, axis=0))
  weights = jax.jit(functools.partial(init, recipe, nets))(jax.random.key(0))

  def step(state: dict[str, Any], batch: Any, t: jax.Array) -> tuple[dict[str, Any], dict]:
    del batch, t
    own = {"params": state["params"], "stats": state["stats"]}
    return {**state, "image": transfer(recipe, nets, own, state["image"], first, second)}, {}

  image = hands["image"][:n].astype(np.float32) / 127.5 - 1
  return step, {**weights, "image": image}, {}


def sticks(size: int, n: int = 40) -> dict[str, np.ndarray]:
  """Returns hands of sticks for an npz file of one's own: `image`, `uv`, `xyz` and `test`."""
  rng = np.random.default_rng(0)
  fingers = np.linspace(-0.8, 0.8, 5)[None, :, None] + rng.normal(0, 0.06, (n, 5, 1))
  lengths = np.array([1.2, 1.0, 1.0, 1.0, 0.7])[:, None]
  reach = np.array([1.1, 2.1, 3.0, 3.8]) * lengths * rng.uniform(16, 20, (n, 5, 1)) + 20
  xyz = np.zeros((n, 21, 3), np.float32)
  xyz[:, 1:, 0] = (reach * np.sin(fingers)).reshape(n, 20)
  xyz[:, 1:, 1] = (-reach * np.cos(fingers)).reshape(n, 20)
  xyz[..., 2] = 500 + rng.normal(0, 15, (n, 21))
  uv = (xyz[..., :2] * (size / 160) + size * np.array([0.5, 0.85])).astype(np.float32)
  drawn = np.asarray(joints_map(uv, xyz[..., 2], size=size)).astype(np.uint8)
  image = np.repeat(drawn[..., None], 3, axis=-1)
  return {"image": image, "uv": uv, "xyz": xyz, "test": np.arange(n) >= n - 4}
