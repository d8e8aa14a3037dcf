"""Weights from torch's names and layouts to ours, batch norms folded into convolutions, or apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import unflatten_dict

Arrays = Mapping[str, np.ndarray]


class Folded(NamedTuple):
  """Takes convolutions, each with its batch norm, from a state dict: `fold(convolution, norm)`.

  w scale / sqrt(variance + epsilon), and as bias shift - mean scale / sqrt(variance + epsilon), in float64.

  Attributes:
    arrays: name -> array, in torch's layout.
    epsilon: of the batch norms.

  Examples:
    >>> norm = {"weight": 2.0, "bias": 1.0, "running_mean": 3.0, "running_var": 4.0}
    >>> arrays = {f"bn.{part}": np.full(5, x) for part, x in norm.items()}
    >>> found = Folded(arrays | {"conv.weight": np.ones((5, 4, 3, 3))}, 0.0)("conv", "bn")
    >>> found["kernel"].shape, found["bias"].tolist()
    ((3, 3, 4, 5), [-2.0, -2.0, -2.0, -2.0, -2.0])
  """

  arrays: Arrays
  epsilon: float

  def __call__(self, convolution: str, norm: str) -> dict[str, np.ndarray]:
    """Returns {"kernel": [*kernel, inputs / groups, outputs], "bias": [outputs]}, float32.

    Raises:
      ValueError: a tensor that is missing.
    """
    names = (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
    scale, shift, mean, variance = (tensor(self.arrays, name) for name in names)
    factor = scale / np.sqrt(variance + self.epsilon)
    kernel = channels_last(tensor(self.arrays, f"{convolution}.weight"))
    return {
      "kernel": (kernel * factor).astype(np.float32),
      "bias": (shift - mean * factor).astype(np.float32),
    }


class Unfolded(NamedTuple):
  """Takes convolutions and their batch norms apart from each other: for `vita_jax.nn.conv_norm.ConvNorm`.

  Attributes:
    arrays: name -> array, in torch's layout.

  Examples:
    >>> norm = {"weight": 2.0, "bias": 1.0, "running_mean": 3.0, "running_var": 4.0}
    >>> arrays = {f"bn.{part}": np.full(5, x) for part, x in norm.items()}
    >>> found = Unfolded(arrays | {"conv.weight": np.ones((5, 4, 3, 3))}).variables({"a/b": ("conv", "bn")})
    >>> found["params"]["a"]["b"]["kernel"].shape, sorted(found["batch_stats"]["a"]["b"])
    ((3, 3, 4, 5), ['mean', 'var'])
  """

  arrays: Arrays

  def variables(self, layers: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Returns {"params": ..., "batch_stats": ...}, nested, float32; layers: our path -> (convolution, norm).

    Raises:
      ValueError: a tensor that is missing.
    """
    params, statistics = {}, {}
    for path, (convolution, norm) in layers.items():
      params[f"{path}/kernel"] = channels_last(tensor(self.arrays, f"{convolution}.weight"))
      params[f"{path}/scale"] = tensor(self.arrays, f"{norm}.weight")
      params[f"{path}/bias"] = tensor(self.arrays, f"{norm}.bias")
      statistics[f"{path}/mean"] = tensor(self.arrays, f"{norm}.running_mean")
      statistics[f"{path}/var"] = tensor(self.arrays, f"{norm}.running_var")
    return {"params": _nested(params), "batch_stats": _nested(statistics)}


def _nested(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  return unflatten_dict({path: x.astype(np.float32) for path, x in flat.items()}, sep="/")


def linear(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
  """Takes a linear layer: {"kernel": [inputs, outputs], "bias": [outputs]}, float32.

  Raises:
    ValueError: a tensor that is missing.
  """
  kernel, bias = tensor(arrays, f"{name}.weight").T, tensor(arrays, f"{name}.bias")
  return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def channels_last(kernel: np.ndarray) -> np.ndarray:
  """Returns a kernel [outputs, inputs / groups, *kernel] as [*kernel, inputs / groups, outputs]."""
  return np.moveaxis(kernel, (0, 1), (-1, -2))


def tensor(arrays: Arrays, name: str) -> np.ndarray:
  """Returns a tensor as float64.

  Raises:
    ValueError: there is none of this name.
  """
  if name not in arrays:
    raise ValueError(f"the file has no tensor '{name}': it is of another network; give another file")
  return np.asarray(arrays[name], np.float64)
