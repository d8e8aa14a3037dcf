"""SimpleBaseline (Xiao et al., ECCV 2018): a ResNet, three transposed convolutions, heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from vita_jax.nn.conv import ConvTranspose
from vita_jax.nn.hrnet import HEAD_DEVIATION, head, published_head
from vita_jax.nn.norm import BatchNorm
from vita_jax.nn.resnet import layer_names, trunk
from vita_jax.nn.torch_weights import Unfolded, tensor

STRIDE = 4  # pixels for each place of the heat maps


class SimpleBaseline(nn.Module):
  """Images [n, h, w, 3], see `vita_jax.nn.resnet.preprocessed` -> heat maps [n, h / 4, w / 4, keypoints].

  h and w are multiples of 32. Layers of the ResNet have the names of `vita_jax.nn.resnet.ResNet`, so that its
  weights fit.

  Attributes:
    keypoints: channels of the heat maps.
    depth: of the ResNet: 18, 50, 101 or 152.
    width: channels of its first stage; 64 in the published networks.
    upsampling: channels of each of the transposed convolutions 4x4, stride 2; 256 in the published networks.
    form: where the convolutions stand, see `vita_jax.nn.conv`.

  Examples:
    >>> image = jax.ShapeDtypeStruct((1, 256, 192, 3), "float32")
    >>> init = SimpleBaseline(form="native").init_with_output
    >>> maps, variables = jax.eval_shape(init, jax.random.key(0), image)
    >>> maps.shape, round(sum(x.size for x in jax.tree.leaves(variables["params"])) / 1e6, 1)
    ((1, 64, 48, 17), 34.0)
  """

  keypoints: int = 17
  depth: int = 50
  width: int = 64
  upsampling: tuple[int, ...] = (256, 256, 256)
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    """`train`: the batch norms take the statistics of the batch, and the running ones move."""
    least = STRIDE * 2 ** len(self.upsampling)
    if images.shape[1] % least or images.shape[2] % least:
      raise ValueError(f"images are {images.shape[1]} x {images.shape[2]}: both must be multiples of {least}")
    x = trunk(images, depth=self.depth, width=self.width, form=self.form, train=train)[-1]
    draw = nn.initializers.normal(HEAD_DEVIATION)
    for i, features in enumerate(self.upsampling):
      up = ConvTranspose(features, 4, 2, 1, use_bias=False, kernel_init=draw, form=self.form, name=f"up{i}")
      x = jax.nn.relu(BatchNorm(name=f"up{i}_norm")(up(x), train=train))
    return head(self.keypoints, form=self.form)(x)


def variables_of_published(
  arrays: Mapping[str, np.ndarray], *, depth: int = 50, upsamplings: int = 3
) -> dict[str, Any]:
  """Takes the variables {"params": ..., "batch_stats": ...}, float32, from the published names and layouts.

  The names are from memory, since no published file was at hand: one that differs is refused by name.

  Args:
    arrays: the state dict: name -> array.
    depth: of the ResNet.
    upsamplings: how many transposed convolutions.

  Raises:
    ValueError: an unknown depth, or a tensor that is missing: of another network.
  """
  found = Unfolded(arrays).variables(layer_names(depth))
  params, statistics = found["params"], found["batch_stats"]
  for i in range(upsamplings):
    kernel = tensor(arrays, f"deconv_layers.{3 * i}.weight").transpose(2, 3, 0, 1)
    params[f"up{i}"] = {"kernel": kernel.astype(np.float32)}
    names = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    norm = {
      ours: tensor(arrays, f"deconv_layers.{3 * i + 1}.{theirs}").astype(np.float32)
      for theirs, ours in names.items()
    }
    params[f"up{i}_norm"] = {name: norm[name] for name in ("scale", "bias")}
    statistics[f"up{i}_norm"] = {name: norm[name] for name in ("mean", "var")}
  return {"params": {**params, "head": published_head(arrays)}, "batch_stats": statistics}
