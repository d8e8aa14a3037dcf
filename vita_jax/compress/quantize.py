"""Quantisation of a network: simulated in training (`vita_jax.nn.quantize`), or after it by measured clips.

A generator takes part by its attribute `quant`: `generator.clone(quant=Quant())`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from vita_jax.nn.layers import check_layers, check_parameters
from vita_jax.nn.quantize import (
  Quant,
  activation_levels,
  check_quant,
  fake_quant,
  fake_quant_weights,
  largest_of,
  level_range,
  weight_levels,
  weight_step,
)

__all__ = [
  "Quant",
  "activation_levels",
  "calibrate",
  "check_quant",
  "clip_ranges",
  "fake_quant",
  "fake_quant_weights",
  "level_range",
  "post_training",
  "weight_levels",
  "weight_step",
]


def calibrate(
  generator: Any, params: Any, batches: Iterable[jax.Array], *, percentile: float = 100.0
) -> dict[str, dict[str, np.ndarray]]:
  """Measures the clip of each layer's input on pictures, without training.

  Args:
    generator: a module with `layers` and `quant`, such as `vita_jax.nn.gan.ResnetGenerator`.
    params: its parameters.
    batches: images [n, h, w, c], one or more batches.
    percentile: of |input|; 100: the maximum. Over batches the largest counts.

  Returns:
    The collection "clips": layer -> {"clip": float32 []}, of the layers whose input is quantised.

  Raises:
    ValueError: no batch, an input that is not finite, a percentile outside (0, 100], or parameters that are
      not the generator's.
  """
  check_quant(Quant(percentile=percentile))
  check_parameters(check_layers(generator.layers), {"params": params})
  names = [layer.name for layer in generator.layers if layer.signed is not None]
  plain = generator.clone(quant=None)

  @jax.jit
  def measure(images: jax.Array) -> dict[str, jax.Array]:
    _, seen = plain.apply({"params": params}, images, mutable=["inputs"])
    return {name: largest_of(seen["inputs"][name]["x"][0], percentile) for name in names}

  measured = [jax.device_get(measure(images)) for images in batches]
  if not measured:
    raise ValueError("there are no pictures to calibrate by: give one batch or more")
  clips = {name: np.max([found[name] for found in measured]) for name in names}
  for name, clip in clips.items():
    if not np.isfinite(clip):
      raise ValueError(f"the inputs of layer '{name}' are not finite: its clip cannot be measured")
  return {name: {"clip": np.asarray(clip, np.float32)} for name, clip in clips.items()}


def post_training(
  generator: Any,
  params: Any,
  batches: Iterable[jax.Array],
  *,
  bits: int = 8,
  percentile: float = 100.0,
  per_channel: bool = False,
) -> tuple[Any, dict[str, Any]]:
  """Quantises a trained float network at once: the baseline that training under quantisation must beat.

  Args:
    generator: see `calibrate`.
    params: its parameters.
    batches: images to measure the clips on.
    bits: 2 to 8, of weights and activations.
    percentile: see `calibrate`.
    per_channel: steps of output channels.

  Returns:
    (generator with `quant`, variables): `quantised.apply(variables, images)`.

  Raises:
    ValueError: other bits, or see `calibrate`.

  Examples:
    >>> from vita_jax.nn.gan import ResnetGenerator, ResnetWidths
    >>> images = jax.random.uniform(jax.random.key(0), (1, 8, 8, 3), minval=-1)
    >>> generator = ResnetGenerator(ResnetWidths(2, (2,), (), (2,)), form="native")
    >>> params = generator.init(jax.random.key(1), images)["params"]
    >>> quantised, variables = post_training(generator, params, [images])
    >>> change = quantised.apply(variables, images) - generator.apply({"params": params}, images)
    >>> bool(abs(change).max() < 0.3)
    True
  """
  quant = check_quant(Quant(bits, bits, per_channel, "ema_percentile", percentile=percentile))
  variables = {"params": params, "clips": calibrate(generator, params, batches, percentile=percentile)}
  return generator.clone(quant=quant), variables


def clip_ranges(generator: Any, variables: Any) -> dict[str, float]:
  """Returns layer -> the clip of its input, of the layers whose input is quantised.

  Raises:
    ValueError: a generator that is not quantised (or see `check_quant`), or whose clips are not in the
      variables or not finite.
  """
  quant = generator.quant
  if quant is None:
    raise ValueError("the generator is not quantised: give it quant=Quant(...)")
  check_quant(quant)
  names = [layer.name for layer in generator.layers if layer.signed is not None]
  if quant.clip_kind == "fixed":
    return {name: float(quant.clip) for name in names}
  collection = "params" if quant.clip_kind == "learned" else "clips"
  found = {}
  for name in names:
    try:
      found[name] = float(variables[collection][name]["clip"])
    except KeyError as error:
      raise ValueError(f"the clip of layer '{name}' is not in the collection '{collection}'") from error
    if not np.isfinite(found[name]):
      raise ValueError(f"the clip of layer '{name}' is {found[name]}: the network cannot be quantised by it")
  return found
