"""A task of seconds that needs no file of ours: hands drawn as sticks in a colour of their identity."""

import numpy as np

from vita_jax.hands import capsule_depth, joints_map
from vita_jax.hands.modalities import FAR
from vita_jax.papers.mm_hand.recipe import default_config

SIZE = 16


def columns(n=16, size=SIZE, seed=0):
  """Arrays of hands of one's own: two identities, the last quarter of each is tested."""
  rng = np.random.default_rng(seed)
  fingers = np.linspace(-0.8, 0.8, 5)[None, :, None] + rng.normal(0, 0.06, (n, 5, 1))
  lengths = np.array([1.2, 1.0, 1.0, 1.0, 0.7])[:, None]  # a thumb's chain is the longest
  reach = np.array([1.1, 2.1, 3.0, 3.8]) * lengths * rng.uniform(16, 20, (n, 5, 1)) + 20
  xyz = np.zeros((n, 21, 3), np.float32)
  xyz[:, 1:, 0] = (reach * np.sin(fingers)).reshape(n, 20)
  xyz[:, 1:, 1] = (-reach * np.cos(fingers)).reshape(n, 20)
  xyz[..., 2] = 500 + rng.normal(0, 15, (n, 21))
  uv = xyz[..., :2] * (size / 160) + size * np.array([0.5, 0.85])
  drawn = np.asarray(joints_map(uv, xyz[..., 2], size=size))
  identity = np.arange(n) % 2
  tones = np.array([(1.2, 0.9, 0.7), (0.7, 0.5, 0.4)])[identity]
  image = np.where(drawn[..., None] > 0, 60 + drawn[..., None] * 0.6, 30.0) * tones[:, None, None]
  depth = np.asarray(capsule_depth(uv, xyz[..., 2], size=size, far=FAR))
  arrays = {"image": image.clip(0, 255).astype(np.uint8), "uv": uv.astype(np.float32), "xyz": xyz}
  return arrays | {"identity": identity, "depth": depth, "test": np.arange(n) >= n - n // 4}


def config(folder, method="mm_hand", **overrides):
  """A config of seconds on drawn hands."""
  np.savez(folder / "hands.npz", **columns())
  found = default_config(method)
  found.data.update({"name": "custom", "folder": str(folder / "hands.npz"), "size": SIZE})
  found.generator.update({"width": 4, "blocks": 1, "scan": False, "remat": False})
  found.discriminator.update({"width": 4, "blocks": 1})
  found.loss.update({"net": "off", "pool": 3})
  found.curriculum.candidates = 4
  found.depth.steps = 4
  found.train.update({"batch": 2, "steps": 6})
  found.report.update({"features": (), "judge": "none"})
  found.log_every = 2
  found.update_from_flattened_dict(overrides)
  return found
