"""Half the mean squared error of heat maps, and the reward of an architecture: OKS of what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.metrics.keypoints import oks
from vita_jax.papers.autopose.data import crop_of
from vita_jax.papers.autopose.recipe import Recipe
from vita_jax.pose.heatmaps import decode, gaussian_targets, heatmap_loss, to_input
from vita_jax.pose.skeletons import Skeleton

Batch = Mapping[str, Any]


def stride_of(recipe: Recipe) -> tuple[float, float]:
  """Pixels of the crop for each place of the map, in x and in y."""
  return crop_of(recipe).stride(recipe.maps)


def loss_of(recipe: Recipe, maps: jax.Array, batch: Batch) -> jax.Array:
  """Computes the loss of maps [n, h, w, K] against the Gaussians of a batch's keypoints."""
  unbiased = recipe.data.convention == "udp"
  targets, weights = gaussian_targets(
    batch["joints"],
    batch["visible"],
    size=recipe.maps,
    stride=stride_of(recipe),
    sigma=recipe.data.sigma,
    centre="exact" if unbiased else "rounded",
  )
  return heatmap_loss(maps, targets, weights, mask=batch.get("mask"))


def joints_of(recipe: Recipe, maps: jax.Array, *, method: str) -> tuple[jax.Array, jax.Array]:
  """Reads keypoints [n, K, 2] in pixels of the crop and their scores [n, K]."""
  found = decode(maps, method=method, sigma=recipe.data.sigma)
  return to_input(found.joints, stride=stride_of(recipe)), found.scores


def rewards_of(recipe: Recipe, skeleton: Skeleton, maps: jax.Array, batch: Batch) -> jax.Array:
  """Computes the reward of each crop, [n] in [0, 1]: OKS of the maxima, by the area of the person's box."""
  joints, _ = joints_of(recipe, maps, method="argmax")
  area = batch["box"][:, 2] * batch["box"][:, 3]
  return oks(joints, batch["joints"], batch["visible"], area, skeleton.sigmas)


def reward_of(recipe: Recipe, skeleton: Skeleton, maps: jax.Array, batch: Batch) -> jax.Array:
  """Computes the mean reward over the crops of a batch that have a labelled keypoint."""
  counted = jnp.any(batch["visible"] > 0, axis=1).astype(jnp.float32)
  return jnp.sum(rewards_of(recipe, skeleton, maps, batch) * counted) / jnp.maximum(jnp.sum(counted), 1)
