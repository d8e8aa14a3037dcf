"""A task of seconds that needs no file of ours: painted pictures, and the same with their colours turned."""

import jax
import numpy as np
from PIL import Image

from vita_jax.papers.gan_slimming.model import shapes_of
from vita_jax.papers.gan_slimming.recipe import default_config


def folders(root, n=10):
  """Paints pairs of pictures into `root`/source and `root`/target: partners are darker and bluish."""
  rng = np.random.default_rng(0)
  for name in ("source", "target"):
    (root / name).mkdir(parents=True, exist_ok=True)
  for i in range(n):
    coarse = rng.integers(40, 255, (6, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((28, 24), Image.Resampling.BICUBIC)
    turned = np.asarray(picture).astype(float) * (0.3, 0.5, 0.9)
    picture.save(root / "source" / f"{i}.png")
    Image.fromarray(turned.astype(np.uint8)).save(root / "target" / f"{i}.png")
  return root


def config(root, method="gs32", **overrides):
  """A config of seconds on the painted pairs."""
  folders(root)
  found = default_config(method)
  found.data.update({"style": "pairs", "source": str(root / "source"), "target": str(root / "target")})
  found.data.update({"side": 24, "crop": 16, "held_out": 4, "crops": 1})
  found.generator.update({"base": 4, "blocks": 1, "output": "residual"})
  found.discriminator.update({"width": 4, "depth": 2})
  found.teacher.update({"steps": 6, "batch": 2, "rate": 2e-3})
  found.slim.update({"batch": 2, "rate": 1e-3, "discriminator_rate": 1e-3, "pool": 4})
  found.slim.update({"steer": False, "rho": 0.16, "gate_rate": 2.0, "beta": 50.0})
  found.finetune.update({"batch": 2, "rate": 1e-3})
  if method != "teacher":
    found.slim.steps, found.finetune.steps = 8, 6
  found.report.features = ()
  found.log_every = 2
  found.update_from_flattened_dict(overrides)
  return found


def weights(net, seed=0):
  """Parameters of the network's shapes, drawn without compiling anything."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes_of(net)["params"])
