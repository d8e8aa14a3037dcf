"""Pretrained classifiers as a trunk and an old head, for fine-tuning that must not forget: one form for all.

The weights of one are a tree {"trunk", "old", "stats"}: the layers up to the features, the linear layers from
there to the old logits, and the running statistics of batch norms, {} without any. Batch norms run in
inference mode; their scale and shift belong to the trunk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.data.files import read_safetensors
from vita_jax.nn import efficientnet, fcn, resnet
from vita_jax.nn.conv import Conv
from vita_jax.nn.detectors.weights import fitted
from vita_jax.nn.features import published_arrays
from vita_jax.nn.linear import uniform_fan_in
from vita_jax.nn.pool import max_pool

Tree = Any
RESNETS = {f"resnet{depth}": depth for depth in resnet.KINDS}
KINDS = ("efficientnet_lite0", *RESNETS, "cnn", "vgg16")
IMAGENET = 1000
HEAD_GROUP = {"head": "^head/"}
_BLOCKS = {"blocks_0_2": "[0-2]", "blocks_3_4": "[34]", "blocks_5_7": "[5-7]"}
_BLOCKS |= {"blocks_8_10": "([89]|10)", "blocks_11_15": "1[1-5]"}
_RESNET = {"conv1": "^trunk/stem/kernel", "bn1": "^trunk/stem/"}
_RESNET |= {f"layer{i}": f"^trunk/layer{i}_" for i in range(1, 5)} | HEAD_GROUP
# Layer groups by network, from the input on, of parameters {"trunk", "head"}: name -> regular expression, for
# `vita_jax.optim.group_by_pattern`. VGG-16's are those of FCN-8s.
GROUPS: Mapping[str, dict[str, str]] = {
  "efficientnet_lite0": {
    "stem": "^trunk/stem/",
    **{name: f"^trunk/block_{numbers}/" for name, numbers in _BLOCKS.items()},
    "head": "^(trunk/last|head)/",
  },
  **{name: _RESNET for name in RESNETS},
  "cnn": {"conv1": "^trunk/conv1/", "conv2": "^trunk/conv2/", "fc": "^trunk/fc/", **HEAD_GROUP},
  "vgg16": {
    **{f"conv{i}": f"^trunk/trunk/conv{i}_" for i in range(1, 6)},
    "fc": "^trunk/fc[67]/",
    **HEAD_GROUP,
  },
}


class Pretrained(NamedTuple):
  """A pretrained classifier without its weights.

  Attributes:
    kind: one of `KINDS`: networks of ImageNet, or "cnn", a small one for grey pictures that is trained by its
      user; "vgg16" pads 100 zeros as FCN-8s does.
    classes: of the old task.
    size: side of the pictures, to which others are resized; 0: they are taken as they come.
    width: channels of the first layer, of cnn and vgg16 (64 in ImageNet's).
    dtype: of the computation.
    form: where convolutions stand, see `vita_jax.nn.conv`.
  """

  kind: str
  classes: int = IMAGENET
  size: int = 0
  width: int = 64
  dtype: str = "float32"
  form: str = "loop"

  @property
  def channels(self) -> int:
    """Of the pictures: 1 or 3."""
    return 1 if self.kind == "cnn" else 3

  @property
  def widths(self) -> fcn.Widths:
    """Channels of VGG-16's convolutions, in ImageNet's proportion."""
    return tuple(tuple(max(1, n * self.width // 64) for n in stage) for stage in fcn.WIDTHS)


def load(net: Pretrained, path: str | os.PathLike | None = None) -> Tree:
  """Reads the weights: npz or safetensors as published, or for a cnn what `save_params` has written.

  Args:
    net: the network.
    path: the file; None: of EfficientNet-Lite0 the one under $VITA_DATA_DIR.

  Raises:
    FileNotFoundError: no such file.
    ValueError: the weights of another network.
  """
  kind = choose("network", net.kind, KINDS)
  if path is None and kind != "efficientnet_lite0":
    raise FileNotFoundError(f"no weights of {kind} come with the package: give a file")
  if kind == "vgg16":
    both = fcn.load_vgg16(path)  # type: ignore[arg-type]  # checked above
    return {"trunk": both["trunk"]["params"], "old": both["classifier"]["params"], "stats": {}}
  if kind == "cnn":
    shapes = jax.eval_shape(lambda key: draw(net, key), jax.random.key(0))
    wanted = {part: shapes[part] for part in ("trunk", "old")}
    found = fitted(f"the teacher of {path}", read_safetensors(path), wanted)  # type: ignore[arg-type]
    return {**found, "stats": {}}
  if kind in RESNETS:
    found = resnet.load(path, depth=RESNETS[kind])  # type: ignore[arg-type]
  else:
    arrays = published_arrays(kind, path)
    module = efficientnet.EfficientNetLite0(form="native", norm="batch")
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    found = fitted(
      kind,
      efficientnet.variables_of_torch(arrays),
      jax.eval_shape(module.init, jax.random.key(0), image),
    )
  params = dict(found["params"])
  return {"old": params.pop("classifier"), "trunk": params, "stats": found["batch_stats"]}


def draw(net: Pretrained, key: jax.Array) -> Tree:
  """Draws the weights of a cnn or vgg16 that is to be trained."""
  if net.kind == "cnn":
    image = jnp.zeros((1, net.size, net.size, 1))
    params = dict(SmallCnn(net.width, net.classes, "native").init(key, image)["params"])
    return {"old": params.pop("classifier"), "trunk": params, "stats": {}}
  one, other = jax.random.split(key)
  trunk = fcn.Trunk(net.widths, "native").init(one, jnp.zeros((1, 32, 32, 3)))["params"]
  pool5 = jnp.zeros((1, fcn.POOLED, fcn.POOLED, net.widths[-1][-1]))
  old = classifier(net).init(other, pool5)["params"]
  return {"trunk": trunk, "old": old, "stats": {}}


def old_of(net: Pretrained, weights: Mapping[str, Tree], images: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Computes the old logits [n, classes] and the pooled features [n, d], float32.

  Args:
    net: the network.
    weights: {"trunk", "old", "stats"}.
    images: uint8 [n, h, w, channels].
  """
  x = prepared(net, images)
  if net.kind == "vgg16":
    pools: Any = fcn.Trunk(net.widths, net.form).apply({"params": weights["trunk"]}, x)
    return old_of_maps(net, weights["old"], pools.pool5)
  params = {**weights["trunk"], "classifier": weights["old"]}
  if net.kind == "cnn":
    module: Any = SmallCnn(net.width, net.classes, net.form)
    features, old = module.apply({"params": params}, x)
  else:
    if net.kind == "efficientnet_lite0":
      module = efficientnet.EfficientNetLite0(form=net.form, norm="batch")
    else:
      module = resnet.ResNet(RESNETS[net.kind], form=net.form)
    outputs = module.apply({"params": params, "batch_stats": weights["stats"]}, x)
    features, old = outputs.features, outputs.logits
  return old.astype(jnp.float32), features.astype(jnp.float32)


def old_of_maps(net: Pretrained, old: Tree, pool5: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Computes the same from VGG-16's last maps, whose mean over places are its features here."""
  logits = jnp.asarray(classifier(net).apply({"params": old}, pool5))
  return logits.astype(jnp.float32), jnp.mean(pool5.astype(jnp.float32), axis=(1, 2))


def classifier(net: Pretrained) -> fcn.Classifier:
  """Makes the old head of VGG-16."""
  return fcn.Classifier(net.classes, 64 * net.width)


def prepared(net: Pretrained, images: jax.Array) -> jax.Array:
  """Returns uint8 pictures as the network takes them: resized (bilinear, antialiased), scaled, centred.

  Examples:
    >>> prepared(Pretrained("cnn", size=8), jnp.full((1, 4, 4, 1), 255, jnp.uint8)).shape
    (1, 8, 8, 1)
  """
  x = resized(net, images.astype(jnp.float32) / 255.0)
  if net.kind == "efficientnet_lite0":
    x = efficientnet.preprocessed(x)
  elif net.kind == "cnn":
    x = 2.0 * x - 1.0
  else:
    x = resnet.preprocessed(x)
  return x.astype(net.dtype)


def resized(net: Pretrained, images: jax.Array) -> jax.Array:
  """Returns pictures at the network's size: those of another one bilinear, antialiased, as float32.

  Examples:
    >>> resized(Pretrained("cnn", size=8), jnp.full((1, 4, 4, 1), 255, jnp.uint8)).shape
    (1, 8, 8, 1)
  """
  n, *sides, channels = images.shape
  if not net.size or sides == [net.size, net.size]:
    return images
  shape = (n, net.size, net.size, channels)
  return jax.image.resize(images.astype(jnp.float32), shape, "bilinear", antialias=True)


def old_classes(logits: jax.Array, groups: jax.Array) -> jax.Array:
  """Returns the old task's label of the largest total probability: [n, old classes] -> int [n].

  Args:
    logits: of the old head.
    groups: int32 [old classes], the label that each output is of; -1: of none.
  """
  probability = jax.nn.softmax(logits)
  labels = groups.shape[0]  # at most so many
  one_hot = (groups[:, None] == jnp.arange(labels)[None]).astype(jnp.float32)
  return jnp.argmax(probability @ one_hot, axis=-1)


class SmallCnn(nn.Module):
  """Grey images [n, h, w, 1] -> (features [n, 8 width], old logits): two convolutions, a linear layer.

  Attributes:
    width: channels of the first convolution; the second has twice as many.
    classes: of the old task.
    form: where the convolutions stand.
  """

  width: int
  classes: int
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    for i in (1, 2):
      x = max_pool(jax.nn.relu(Conv(self.width * i, 3, padding=1, form=self.form, name=f"conv{i}")(x)), 2)
    x = x.reshape(x.shape[0], -1)
    features = jax.nn.relu(nn.Dense(8 * self.width, name="fc")(x))
    return features, nn.Dense(self.classes, name="classifier")(features)


class Head(nn.Module):
  """Features [n, d] -> logits: linear, ReLU, linear, drawn as torch's; one layer where `hidden` is 0."""

  hidden: int
  classes: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    sizes = {"hidden": self.hidden, "out": self.classes} if self.hidden else {"out": self.classes}
    for name, size in sizes.items():
      x = jax.nn.relu(x) if name == "out" and self.hidden else x
      uniform = uniform_fan_in(x.shape[-1])
      x = nn.Dense(size, kernel_init=uniform, bias_init=uniform, name=name)(x)
    return x
