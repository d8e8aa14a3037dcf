"""A small estimator of hand poses, trained in a minute: for data sets to be compared by what it learns."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from vita_jax.base.choose import choose
from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.cache import cache_folder, cached_arrays
from vita_jax.hands.judges import Judge
from vita_jax.nn.convolutional_pose import KeypointNet

AUGMENTATIONS = ("none", "classical")
BRIGHTER, SHIFTED, TURNED = 0.3, 0.08, 30.0  # of classical augmentation: share, share of the side, degrees
BATCH, RATE = 32, 1e-3
VERSION = 1  # of the network and its training: a kept one of another version is not taken
SIDE = 64  # pixels that the unit of the loss is told in


def train_keypoint_net(
  images: np.ndarray,
  uv: np.ndarray,
  *,
  steps: int = 600,
  batch: int = BATCH,
  rate: float = RATE,
  width: int = 16,
  augmentation: str = "none",
  seed: int = 0,
) -> Judge:
  """Trains `nn.convolutional_pose.KeypointNet` on pictures of hands; returns it as a judge, "small_".

  Adam, a cosine to 0, mean |joints - uv|, batches drawn with replacement: sets of any size get equal steps.

  Args:
    images: uint8 [n, S, S, 3].
    uv: [n, 21, 2] in their pixels.
    steps: of training.
    batch: pictures in a step.
    rate: at first.
    width: of the network.
    augmentation: "classical": colours, turns by up to 30 degrees about the middle, and shifts, of pictures
      and joints alike.
    seed: of weights and batches.

  Raises:
    ValueError: no pictures, unlike numbers of pictures and poses, or an unknown augmentation.
  """
  _check(images, uv, augmentation)
  net = KeypointNet(width, form="top")
  return _judge(net, _trained(net, images, uv, steps, batch, rate, augmentation, seed))


def kept_keypoint_net(images: np.ndarray, uv: np.ndarray, *, steps: int, width: int = 16) -> Judge:
  """Returns `train_keypoint_net(images, uv, steps=steps, width=width)`, kept in $VITA_CACHE_DIR/hands.

  Runs that are compared are judged by the very same network, and it is trained once for all of them.

  Args:
    images: as there.
    uv: as well.
    steps: as well.
    width: as well.

  Raises:
    ValueError: as well.
  """
  _check(images, uv, "none")
  net = KeypointNet(width, form="top")
  key = f"keypoint net {VERSION} {steps} {width} {arrays_sha256({'images': images, 'uv': uv})}"

  def make() -> dict[str, np.ndarray]:
    params = _trained(net, images, uv, steps, BATCH, RATE, "none", 0)
    return {name: np.asarray(x) for name, x in flatten_dict(params, sep="/").items()}

  found = cached_arrays(cache_folder("hands"), key, make, prefix="judge-")
  return _judge(net, jax.tree.map(jnp.asarray, unflatten_dict(found, sep="/")))


def _check(images: np.ndarray, uv: np.ndarray, augmentation: str) -> None:
  choose("augmentation", augmentation, AUGMENTATIONS)
  if not len(images) or len(images) != len(uv):
    raise ValueError(f"{len(images)} pictures and {len(uv)} poses: give as many, at least one")


def _judge(net: KeypointNet, params: Any) -> Judge:
  return Judge("small_", jax.jit(partial(_find, net, params)))


def _trained(
  net: KeypointNet,
  images: np.ndarray,
  uv: np.ndarray,
  steps: int,
  batch: int,
  rate: float,
  augmentation: str,
  seed: int,
) -> Any:
  """The parameters after training."""
  key = jax.random.key(seed)
  pictures, joints = jnp.asarray(images), jnp.asarray(uv, jnp.float32)
  params = jax.jit(net.init)(key, jnp.zeros((1, *images.shape[1:])))["params"]
  optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
  step = jax.jit(partial(_step, net, optimizer, batch, augmentation), donate_argnums=0)
  state = params, optimizer.init(params)
  for t in range(steps):
    state = step(state, pictures, joints, jax.random.fold_in(key, t + 1))
  return state[0]


def _find(net: KeypointNet, params: Any, pictures: jax.Array) -> tuple[jax.Array, None]:
  return jnp.asarray(net.apply({"params": params}, pictures)), None


def _step(
  net: KeypointNet,
  optimizer: optax.GradientTransformation,
  batch: int,
  augmentation: str,
  state: tuple[Any, Any],
  pictures: jax.Array,
  joints: jax.Array,
  key: jax.Array,
) -> tuple[Any, Any]:
  rows_key, key = jax.random.split(key)
  rows = jax.random.randint(rows_key, (batch,), 0, len(pictures))
  images, uv = pictures[rows].astype(jnp.float32) / 255, joints[rows]
  if augmentation == "classical":
    images, uv = jax.vmap(augmented)(jax.random.split(key, batch), images, uv)

  def loss(params: Any) -> jax.Array:
    found = jnp.asarray(net.apply({"params": params}, images))
    return jnp.mean(jnp.abs(found - uv)) * SIDE / pictures.shape[1]

  params, moments = state
  updates, moments = optimizer.update(jax.grad(loss)(params), moments)
  return optax.apply_updates(params, updates), moments


def augmented(key: jax.Array, image: jax.Array, uv: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Changes colours, turns about the middle and shifts: image [S, S, 3] in [0, 1] and uv [21, 2].

  Places beyond the border repeat it.
  """
  colour_key, light_key, turn_key, shift_key = jax.random.split(key, 4)
  size = image.shape[0]
  middle = jnp.full(2, (size - 1) / 2)
  gains = 1 + BRIGHTER / 2 * jax.random.uniform(colour_key, (3,), minval=-1)
  image = jnp.clip(image * gains * (1 + BRIGHTER * jax.random.uniform(light_key, minval=-1)), 0, 1)
  angle = jnp.deg2rad(TURNED) * jax.random.uniform(turn_key, minval=-1)
  shift = SHIFTED * size * jax.random.uniform(shift_key, (2,), minval=-1)
  turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
  y, x = jnp.mgrid[:size, :size]
  places = (jnp.stack([x, y], axis=-1) - middle - shift) @ turn + middle  # the inverse: turn is orthogonal
  sampled = [
    jax.scipy.ndimage.map_coordinates(
      image[..., c], [places[..., 1], places[..., 0]], order=1, mode="nearest"
    )
    for c in range(3)
  ]
  return jnp.stack(sampled, axis=-1), (uv - middle) @ turn.T + middle + shift
