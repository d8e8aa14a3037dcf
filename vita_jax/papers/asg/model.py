"""Student and teacher: one trunk, the old head that nobody trains, and a new head; layer groups by name.

A network's weights stand in two trees. `params`, what is trained: {"trunk", "head"}. `teacher`, which never
moves: {"trunk", "old", "stats"}, the pretrained trunk, the old head, and the statistics of batch norms, which
the student shares. All networks run in inference mode; scale and shift of batch norms are trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.files import read_safetensors
from vita_jax.nn import efficientnet, fcn, resnet
from vita_jax.nn.conv import Conv
from vita_jax.nn.detectors.weights import fitted
from vita_jax.nn.features import published_arrays
from vita_jax.nn.linear import uniform_fan_in
from vita_jax.nn.policy import CategoricalPolicy
from vita_jax.nn.pool import max_pool
from vita_jax.optim.groups import FROZEN, Patterns, check_groups, group_by_pattern
from vita_jax.papers.asg.recipe import Net, Recipe

Tree = Any
HEAD_GROUP = {"head": "^head/"}
_BLOCKS = {"blocks_0_2": "[0-2]", "blocks_3_4": "[34]", "blocks_5_7": "[5-7]"}
_BLOCKS |= {"blocks_8_10": "([89]|10)", "blocks_11_15": "1[1-5]"}
_RESNET = {"conv1": "^trunk/stem/kernel", "bn1": "^trunk/stem/"}
_RESNET |= {f"layer{i}": f"^trunk/layer{i}_" for i in range(1, 5)} | HEAD_GROUP
# Layer groups in the order of the multipliers.
GROUPS: Mapping[str, dict[str, str]] = {
  "efficientnet_lite0": {
    "stem": "^trunk/stem/",
    **{name: f"^trunk/block_{numbers}/" for name, numbers in _BLOCKS.items()},
    "head": "^(trunk/last|head)/",
  },
  **{f"resnet{depth}": _RESNET for depth in (18, 50, 101)},
  "cnn": {"conv1": "^trunk/conv1/", "conv2": "^trunk/conv2/", "fc": "^trunk/fc/", **HEAD_GROUP},
  "fcn8s": {
    **{f"conv{i}": f"^trunk/trunk/conv{i}_" for i in range(1, 6)},
    "fc": "^trunk/fc[67]/",
    **HEAD_GROUP,
  },
}
OBSERVED = {"fcn8s": "head/upscore8/kernel"}  # the last layer, whose weights the controller observes
LAST_LAYER = "head/out/kernel"


class Seen(NamedTuple):
  """What a network sees.

  Attributes:
    logits: of the new task, float32 [n, classes] or [n, h, w, classes].
    old: of the old task, on the same features, float32 [n, old classes].
    features: [n, d], pooled.
  """

  logits: jax.Array
  old: jax.Array
  features: jax.Array


class Nets(NamedTuple):
  """The networks of a run.

  Attributes:
    net: keys `model.*`.
    classes, old_classes: of the new and of the old task.
    size: side of the pictures that they see; 0: as they come.
    channels: of the pictures.
    dtype: of the computation.
    form: where convolutions stand.
    groups: parameter's path -> name of its layer group.
    given: the teacher from a file, or None: it is trained here.
  """

  net: Net
  classes: int
  old_classes: int
  size: int
  channels: int
  dtype: str
  form: str
  groups: Patterns
  given: Tree

  @property
  def names(self) -> tuple[str, ...]:
    """The layer groups that have a multiplier, in order."""
    return tuple(name for name in self.groups.names if name != FROZEN)

  @property
  def policy(self) -> CategoricalPolicy:
    """The controller's network."""
    return CategoricalPolicy(len(self.names))

  @property
  def observed(self) -> str:
    """The path of the weights that the controller observes."""
    return OBSERVED.get(self.net.kind, LAST_LAYER)

  def moved(self, form: str) -> Nets:
    """Returns the same networks for another place in a program."""
    return self._replace(form=form)


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


def nets_of(recipe: Recipe, classes: int, old_groups: np.ndarray | None) -> Nets:
  """Makes the networks of a run and reads the teacher, where a file has it.

  Raises:
    FileNotFoundError: no weights.
    ValueError: weights of another network, a parameter in no group, or a group without parameters.
  """
  net = recipe.net
  here = net.kind in ("cnn", "fcn8s") and not (net.kind == "fcn8s" and net.weights)
  old_classes = len(old_groups) if here and old_groups is not None else 1000
  groups = group_by_pattern(_patterns(recipe))
  size = 0 if recipe.pixels else recipe.data.size
  channels = 1 if net.kind == "cnn" else 3
  nets = Nets(
    net, classes, old_classes, size, channels, recipe.dtype, recipe.form, groups, given_teacher(net)
  )
  shapes = jax.eval_shape(lambda key: first_weights(nets, key), jax.random.key(0))
  if net.weights and net.kind == "cnn":
    nets = nets._replace(given=_teacher_file(net.weights, shapes[1]))
  check_groups(groups, nets.names, shapes[0])
  return nets


def _patterns(recipe: Recipe) -> dict[str, str]:
  rates, net = recipe.rates, recipe.net
  if rates.kind == "fixed" and not rates.backbone and not rates.decay and not rates.trained:
    # Features stay: of EfficientNet, the head's convolution, too, which else is of the last group.
    return {FROZEN: "^trunk/trunk/", "head": "^(head|trunk/fc[67])/"} if net.kind == "fcn8s" else _split()
  if rates.kind == "probe_first":
    return {"trunk": "^trunk/", **HEAD_GROUP}
  if net.groups:
    return dict(entry.split("=", 1) for entry in net.groups)
  return GROUPS[net.kind]


def _split() -> dict[str, str]:
  return {FROZEN: "^trunk/", **HEAD_GROUP}


def given_teacher(net: Net) -> Tree:
  """Reads the teacher of a published network; None where it is trained here (a cnn's file is read later)."""
  path = net.weights or None
  if net.kind == "efficientnet_lite0":
    found = efficientnet.variables_of_torch(published_arrays(net.kind, path))
    if path:
      image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
      module = efficientnet.EfficientNetLite0(form="native", norm="batch")
      found = fitted(net.kind, found, jax.eval_shape(module.init, jax.random.key(0), image))
  elif net.kind.startswith("resnet"):
    assert path is not None  # `recipe.check` has seen to it
    found = resnet.load(path, depth=int(net.kind.removeprefix("resnet")))
  elif net.kind == "fcn8s" and path:
    both = fcn.load_vgg16(path)
    old, trunk = both["classifier"]["params"], both["trunk"]["params"]
    return {"trunk": trunk, "old": old, "stats": {}}
  else:
    return None
  params = dict(found["params"])
  return {"old": params.pop("classifier"), "trunk": params, "stats": found["batch_stats"]}


def _teacher_file(path: str, shapes: Tree) -> Tree:
  """Reads a teacher that an earlier run exported: teacher.safetensors, trunk/... and old/... ."""
  wanted = {part: shapes[part] for part in ("trunk", "old")}
  found = fitted(f"the teacher of {path}", read_safetensors(path), wanted)
  return {"trunk": found["trunk"], "old": found["old"], "stats": {}}


def first_weights(nets: Nets, key: jax.Array) -> tuple[Tree, Tree]:
  """Returns (params, teacher): the given teacher or one that is drawn, and a student of it."""
  teacher_key, head_key = jax.random.split(key)
  teacher = jax.tree.map(jnp.asarray, nets.given) if nets.given is not None else _drawn(nets, teacher_key)
  return student_of(nets, teacher, head_key), teacher


def _drawn(nets: Nets, key: jax.Array) -> Tree:
  if nets.net.kind == "cnn":
    image = jnp.zeros((1, nets.size, nets.size, 1))
    params = dict(SmallCnn(nets.net.width, nets.old_classes, "native").init(key, image)["params"])
    return {"old": params.pop("classifier"), "trunk": params, "stats": {}}
  one, other = jax.random.split(key)
  trunk = _trunk(nets, "native").init(one, jnp.zeros((1, 32, 32, 3)))["params"]
  pool5 = jnp.zeros((1, fcn.POOLED, fcn.POOLED, fcn_widths(nets.net)[-1][-1]))
  return {"old": _classifier(nets).init(other, pool5)["params"], "trunk": trunk, "stats": {}}


def student_of(nets: Nets, teacher: Tree, key: jax.Array) -> Tree:
  """Returns the parameters that fine-tuning starts from: the teacher's trunk, and a head that is drawn."""
  trunk = start_of(nets, teacher)
  if nets.net.kind == "fcn8s":
    drawn = _fcn(nets, "native").init(key, jnp.zeros((1, 32, 32, 3)))["params"]
    return {"trunk": trunk, "head": {name: x for name, x in drawn.items() if name not in trunk}}
  width = teacher["old"]["kernel"].shape[0]
  head = Head(nets.net.hidden, nets.classes).init(key, jnp.zeros((1, width)))["params"]
  return {"trunk": trunk, "head": head}


def start_of(nets: Nets, teacher: Tree) -> Tree:
  """Returns the trunk that a student of this teacher starts from, in buffers of its own."""
  if nets.net.kind != "fcn8s":
    return jax.tree.map(lambda x: jnp.array(x, copy=True), teacher["trunk"])
  fc6, fc7 = (teacher["old"][name] for name in ("fc6", "fc7"))
  places = fcn.POOLED
  as_convolutions = {
    "fc6": {**fc6, "kernel": fc6["kernel"].reshape(places, places, -1, fc6["kernel"].shape[-1])},
    "fc7": {**fc7, "kernel": fc7["kernel"][None, None]},
  }
  return jax.tree.map(lambda x: jnp.array(x, copy=True), {"trunk": teacher["trunk"], **as_convolutions})


def see(nets: Nets, params: Tree, teacher: Tree, images: jax.Array) -> Seen:
  """Runs a student, whose old logits come from the teacher's old head.

  Args:
    nets: the networks.
    params: {"trunk", "head"}.
    teacher: {"trunk", "old", "stats"}; its trunk is not used.
    images: uint8 [n, h, w, c].
  """
  trunk = params["trunk"]
  if nets.net.kind == "fcn8s":
    given = _fcn(nets, nets.form).apply({"params": {**trunk, **params["head"]}}, prepared(nets, images))
    return Seen(given.logits.astype(jnp.float32), *_old_of_maps(nets, teacher["old"], given.pool5))
  old, features = old_of(nets, {**teacher, "trunk": trunk}, images)
  logits = Head(nets.net.hidden, nets.classes).apply({"params": params["head"]}, features)
  return Seen(jnp.asarray(logits), old, features)


def old_of(nets: Nets, teacher: Tree, images: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Computes the old logits and the pooled features of a teacher, float32."""
  kind, x = nets.net.kind, prepared(nets, images)
  if kind == "fcn8s":
    pools: Any = _trunk(nets, nets.form).apply({"params": teacher["trunk"]}, x)
    return _old_of_maps(nets, teacher["old"], pools.pool5)
  params = {**teacher["trunk"], "classifier": teacher["old"]}
  if kind == "cnn":
    module: Any = SmallCnn(nets.net.width, nets.old_classes, nets.form)
    features, old = module.apply({"params": params}, x)
    return old.astype(jnp.float32), features.astype(jnp.float32)
  if kind == "efficientnet_lite0":
    module = efficientnet.EfficientNetLite0(form=nets.form, norm="batch")
  else:
    module = resnet.ResNet(int(kind.removeprefix("resnet")), form=nets.form)
  outputs = module.apply({"params": params, "batch_stats": teacher["stats"]}, x)
  return outputs.logits.astype(jnp.float32), outputs.features.astype(jnp.float32)


def prepared(nets: Nets, images: jax.Array) -> jax.Array:
  """Returns uint8 pictures as the network takes them: resized (bilinear, antialiased), scaled, centred."""
  x = images.astype(jnp.float32) / 255.0
  if nets.size and x.shape[1:3] != (nets.size, nets.size):
    x = jax.image.resize(x, (x.shape[0], nets.size, nets.size, x.shape[3]), "bilinear", antialias=True)
  if nets.net.kind == "efficientnet_lite0":
    x = efficientnet.preprocessed(x)
  elif nets.net.kind == "cnn":
    x = 2.0 * x - 1.0
  else:
    x = resnet.preprocessed(x)
  return x.astype(nets.dtype)


def _old_of_maps(nets: Nets, old: Tree, pool5: jax.Array) -> tuple[jax.Array, jax.Array]:
  logits = _classifier(nets).apply({"params": old}, pool5)
  return jnp.asarray(logits).astype(jnp.float32), jnp.mean(pool5.astype(jnp.float32), axis=(1, 2))


def fcn_widths(net: Net) -> fcn.Widths:
  """Returns VGG-16's widths, or narrower ones in the same proportion."""
  return tuple(tuple(max(1, n * net.width // 64) for n in stage) for stage in fcn.WIDTHS)


def _trunk(nets: Nets, form: str) -> fcn.Trunk:
  return fcn.Trunk(fcn_widths(nets.net), form)


def _fcn(nets: Nets, form: str) -> fcn.FCN8s:
  return fcn.FCN8s(nets.classes, fcn_widths(nets.net), 64 * nets.net.width, form)


def _classifier(nets: Nets) -> fcn.Classifier:
  return fcn.Classifier(nets.old_classes, 64 * nets.net.width)
