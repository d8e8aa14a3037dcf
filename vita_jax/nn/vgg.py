"""VGG-16's convolutions (Simonyan and Zisserman, ICLR 2015, configuration D), as far as its weights reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn.conv import Conv
from vita_jax.nn.pool import max_pool

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# HED-VGG16 (Holistically-Nested Edge Detection, Xie and Tu, ICCV 2015; on BSDS500): the means it was trained
# with, of blue, green and red, 0 to 255.
HED_STAGES = 3
HED_LEVELS = ("relu1_2", "relu2_2", "relu3_3")
HED_MEANS = (104.00699, 116.66877, 122.67892)


class VGG16(nn.Module):
  """Images [n, h, w, 3] -> {"relu1_1": [n, h, w, 64], "relu1_2": ..., ...}, each after its ReLU.

  3x3 convolutions with one zero around; 2x2 maxima between the stages, an odd last row or column dropped.

  Attributes:
    stages: how many of the five.
    form: where the convolutions stand, see `vita_jax.nn.conv`.

  Examples:
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> maps, _ = jax.eval_shape(VGG16(3).init_with_output, jax.random.key(0), image)
    >>> maps["relu3_3"].shape
    (1, 8, 8, 256)
  """

  stages: int = 5
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
    x, maps = images, {}
    for stage, widths in enumerate(WIDTHS[: self.stages], start=1):
      x = max_pool(x, 2) if stage > 1 else x
      for i, width in enumerate(widths, start=1):
        x = jax.nn.relu(Conv(width, 3, padding=1, form=self.form, name=f"conv{stage}_{i}")(x))
        maps[f"relu{stage}_{i}"] = x
    return maps


def hed_preprocessed(images: jax.Array) -> jax.Array:
  """Returns RGB images in [0, 1] as HED-VGG16 takes them: blue, green, red, 0 to 255, less `HED_MEANS`."""
  return 255.0 * images[..., ::-1] - jnp.asarray(HED_MEANS, images.dtype)


def params_of_hed(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Renames arrays conv1_1/w [3, 3, inputs, outputs], conv1_1/b [outputs], ...: '/'-joined parameters."""
  ours = {"w": "kernel", "b": "bias"}
  params = {}
  for name, x in arrays.items():
    layer, slash, part = name.rpartition("/")
    params[f"{layer}{slash}{ours.get(part, part)}"] = np.asarray(x, np.float32)
  return params
