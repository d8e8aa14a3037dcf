"""The networks of a run: the generator, its judges, the network of depth, and frozen ones for losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn import features
from vita_jax.nn.attention_transfer import ResidualDiscriminator, TransferGenerator
from vita_jax.nn.gan import PatchDiscriminator, ResnetGenerator, resnet_widths
from vita_jax.nn.hand_landmarks import LEVELS, judge, load_hand_landmarks, trunk_features
from vita_jax.nn.unet import UNet
from vita_jax.papers.mm_hand.guidance import CHANNELS, DepthOf, Pose, analytic_depth, depth_inputs, streams_of
from vita_jax.papers.mm_hand.recipe import Recipe

Tree = Any
Maps = Mapping[str, jax.Array]
PLAIN = (ResnetGenerator, PatchDiscriminator)  # without batch norm and dropout
LEVELS_OF_ONE = 255 * 0.226  # grey levels of one of ImageNet's deviations, the mean of 0.229, 0.224 and 0.225
DEVIATION = 0.02  # of kernels and scales at first
# What a judge sees besides the picture, in channels; that of depth maps sees one of them and the joints.
SEES = {"appearance": 3, "shape": CHANNELS["pose"], "joints": 3, "picture": 0, "map": 0, "depth": 3}


class TwoStage(nn.Module):
  """PG2 (Ma et al., NeurIPS 2017): a U-Net draws coarsely, another one, a GAN's, corrects that.

  (source [n, S, S, 3], heat maps [n, S, S, 21]) -> [n, S, S, 3]. While `coarse`, the first one is trained and
  its picture is the result; later it is frozen, and the result is its picture plus the second one's, clipped.
  """

  width: int
  depth: int
  rate: float
  form: str
  dtype: Any = None

  @nn.compact
  def __call__(self, source: jax.Array, maps: jax.Array, *, train: bool, coarse: bool = False) -> jax.Array:
    net = partial(UNet, 3, self.width, self.depth, self.rate, self.form, self.dtype)
    first = net(name="coarse")(jnp.concatenate([source, maps], axis=-1), train=train and coarse)
    if coarse and not self.is_initializing():
      return first
    first = jax.lax.stop_gradient(first)
    change = net(name="refine")(jnp.concatenate([source, first], axis=-1), train=train)
    return jnp.clip(first + change, -1.0, 1.0)


class Nets(NamedTuple):
  """The networks of a run.

  Attributes:
    generator: a module; of "cycle" the same for both ways; None: the source is copied.
    judges: by name.
    depth: the network of depth, and None where depth is analytic.
    perceptual: pictures [n, S, S, 3] in [-1, 1] -> maps, frozen; None: there is no such loss.
    joints: the same -> [n, 21, 2] in pixels, frozen; None likewise.
  """

  generator: Any
  judges: Mapping[str, Any]
  depth: Any
  perceptual: Callable[[jax.Array], Maps] | None
  joints: Callable[[jax.Array], jax.Array] | None


def nets_of(recipe: Recipe) -> Nets:
  """Makes the networks and loads the frozen ones.

  Raises:
    FileNotFoundError: no weights of the network of a loss: random ones are never taken in their place.
  """
  options: dict[str, Any] = {"form": recipe.form, "dtype": recipe.dtype}
  names = dict.fromkeys(name for phase in recipe.phases for name in phase.judges)
  depth = None
  if recipe.learns_depth:
    depth = UNet(1, recipe.generator.width, levels(recipe.size), recipe.generator.dropout, **options)
  return Nets(
    generator=_generator(recipe, options),
    judges={name: _judge(recipe, name, options) for name in names},
    depth=depth,
    perceptual=_perceptual(recipe),
    joints=_joints(recipe),
  )


def levels(size: int) -> int:
  """Counts how often a side can be halved, 8 times at most.

  Examples:
    >>> levels(256), levels(96), levels(64)
    (8, 5, 6)
  """
  return min((size & -size).bit_length() - 1, 8)


def _generator(recipe: Recipe, options: dict[str, Any]) -> Any:
  keys, depth = recipe.generator, levels(recipe.size)
  if keys.kind == "transfer":
    return TransferGenerator(
      keys.width,
      keys.blocks,
      fusion=keys.fusion,
      swap=keys.swap_streams,
      rate=keys.dropout,
      scan=keys.scan and keys.fusion == "attention",
      remat=keys.remat,
      **options,
    )
  if keys.kind == "unet":
    return UNet(3, keys.width, depth, keys.dropout, **options)
  if keys.kind == "two_stage":
    return TwoStage(keys.width, depth, keys.dropout, **options)
  return None if keys.kind == "copy" else ResnetGenerator(resnet_widths(keys.width, keys.blocks), **options)


def _judge(recipe: Recipe, name: str, options: dict[str, Any]) -> Any:
  keys = recipe.discriminator
  if keys.kind == "patch" or name == "depth":
    blocks = keys.blocks if keys.kind == "patch" else max(1, min(3, levels(recipe.size) - 2))
    channels = SEES[name] + (1 if name == "depth" else 3)
    return PatchDiscriminator(keys.width, blocks, channels, **options)
  return ResidualDiscriminator(keys.width, keys.blocks, keys.head, keys.dropout, **options)


def _perceptual(recipe: Recipe) -> Callable[[jax.Array], Maps] | None:
  name = recipe.loss.net
  if not any(phase.perceptual for phase in recipe.phases):
    return None
  if name == "lite":
    module, variables = load_hand_landmarks("lite", form=recipe.form)
    return partial(_lite_maps, module, variables)
  return partial(_vgg_maps, features.load(name, form=recipe.form))


def _vgg_maps(net: features.FeatureNet, pictures: jax.Array) -> Maps:
  """relu1_2, as the paper takes it, of another VGG, in the unit of the paper's.

  This one was trained on 0 to 255, the paper's on deviations of ImageNet's, each of which is 58 of those:
  without the division the paper's weight would drown all other losses.
  """
  return {"relu1_2": net.apply(net.variables, (pictures + 1) / 2).maps["relu1_2"] / LEVELS_OF_ONE}


def _lite_maps(module: Any, variables: Tree, pictures: jax.Array) -> Maps:
  found = trunk_features(module, variables, (pictures + 1) / 2)
  return {name: found[name] for name in LEVELS[:2]}


def _joints(recipe: Recipe) -> Callable[[jax.Array], jax.Array] | None:
  if not any(phase.pose for phase in recipe.phases):
    return None
  module, variables = load_hand_landmarks("lite", form=recipe.form)
  return partial(_found_joints, module, variables)


def _found_joints(module: Any, variables: Tree, pictures: jax.Array) -> jax.Array:
  return judge(module, variables, (pictures + 1) / 2).joints[..., :2]


def run(
  net: Any, params: Tree, stats: Tree, inputs: tuple[jax.Array, ...], *, key: jax.Array | None, **options: Any
) -> tuple[jax.Array, Tree]:
  """Applies a network: with a key in training mode (statistics of the batch, dropout), else in evaluation.

  Returns:
    What it gives, float32, and its running statistics afterwards.
  """
  if isinstance(net, PLAIN):
    return jnp.asarray(net.apply({"params": params}, *inputs), jnp.float32), stats
  variables = {"params": params, "batch_stats": stats}
  if key is None:
    return jnp.asarray(net.apply(variables, *inputs, train=False, **options), jnp.float32), stats
  y, moved = net.apply(
    variables, *inputs, train=True, mutable=["batch_stats"], rngs={"dropout": key}, **options
  )
  return jnp.asarray(y, jnp.float32), moved.get("batch_stats", {})


def depth_of(recipe: Recipe, nets: Nets, params: Tree, stats: Tree) -> DepthOf:
  """Returns where depth maps come from: capsules, or the trained network, frozen."""
  if nets.depth is None:
    return partial(analytic_depth, recipe)
  return partial(_learned_depth, recipe, nets, params["depth"], stats["depth"])


def _learned_depth(recipe: Recipe, nets: Nets, params: Tree, stats: Tree, pose: Pose) -> jax.Array:
  y, _ = run(nets.depth, params, stats, (depth_inputs(recipe, pose),), key=None)
  return jax.lax.stop_gradient(y)


def transfer(
  recipe: Recipe, nets: Nets, weights: Mapping[str, Tree], source: jax.Array, first: Pose, second: Pose
) -> jax.Array:
  """Draws the source's hand in the target's pose: [n, S, S, 3] in [-1, 1], in evaluation mode.

  Args:
    recipe: the settings.
    nets: the networks.
    weights: `params` and `stats` of a state.
    source: [n, S, S, 3] in [-1, 1].
    first: the source's pose.
    second: the target's.
  """
  if nets.generator is None:
    return source
  params, stats = weights["params"], weights["stats"]
  streams = streams_of(recipe, source, first, second, depth_of(recipe, nets, params, stats))
  own = params["generator"]
  own = own["there"] if recipe.generator.kind == "cycle" else own
  return run(nets.generator, own, stats["generator"], streams, key=None)[0]


def init(recipe: Recipe, nets: Nets, key: jax.Array) -> dict[str, Tree]:
  """Draws {"params", "stats"}, each by network: "generator", "depth" and the judges.

  Kernels are N(0, 0.02^2) and scales of batch norms N(1, 0.02^2), as DCGAN, pix2pix and CycleGAN draw them;
  variances 1, all else 0.
  """
  size = recipe.size
  shapes: dict[str, dict[str, Tree]] = {"params": {}, "stats": {}}
  for name, net, channels in _drawn_nets(recipe, nets):
    initial = net.init if isinstance(net, PLAIN) else partial(net.init, train=False)
    inputs = [jax.ShapeDtypeStruct((1, size, size, c), jnp.float32) for c in channels]
    found = jax.eval_shape(initial, jax.random.key(0), *inputs)
    shapes["params"][name], shapes["stats"][name] = found["params"], found.get("batch_stats", {})
    if name == "generator" and recipe.generator.kind == "cycle":
      shapes["params"][name] = {"there": found["params"], "back": found["params"]}
  leaves, structure = jax.tree_util.tree_flatten_with_path(shapes)
  names = [path[-1].key for path, _ in leaves]
  sizes = [x.size if name in ("kernel", "scale") else 0 for name, (_, x) in zip(names, leaves, strict=True)]
  # All of them by one draw: a draw for each is half a minute of compiling.
  noise = DEVIATION * jax.random.normal(key, (sum(sizes),))
  ends, drawn = np.cumsum(sizes), []
  for name, (_, x), end, count in zip(names, leaves, ends, sizes, strict=True):
    middle = jnp.full(x.shape, float(name in ("scale", "var")), jnp.float32)
    drawn.append(middle + noise[end - count : end].reshape(x.shape) if count else middle)
  return jax.tree.unflatten(structure, drawn)


def _drawn_nets(recipe: Recipe, nets: Nets) -> list[tuple[str, Any, tuple[int, ...]]]:
  kind, found = recipe.generator.kind, []
  channels = {"two_stage": (3, CHANNELS["pose"]), "unet": (3,), "cycle": (3,)}
  guides = tuple(2 * CHANNELS[name] for name in recipe.generator.modalities)
  if nets.generator is not None:
    found.append(("generator", nets.generator, channels.get(kind, (3, *guides))))
  if nets.depth is not None:
    found.append(("depth", nets.depth, (1 + CHANNELS["pose"],)))
  for name, net in nets.judges.items():
    found.append((_params_name(name), net, (SEES[name] + (1 if name == "depth" else 3),)))
  return found


def _params_name(judge: str) -> str:
  return f"judge_{judge}"
