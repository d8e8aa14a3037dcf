"""Student and teacher: one trunk, the old head that nobody trains, and a new head; layer groups by name.

What is trained is `params`, {"trunk", "head"}; what never moves is `teacher`, {"trunk", "old", "stats"}, see
`vita_jax.nn.pretrained`. The student has the teacher's old head and its statistics of batch norms.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn import fcn, pretrained
from vita_jax.nn.policy import CategoricalPolicy
from vita_jax.nn.pretrained import Head, Pretrained
from vita_jax.optim.groups import FROZEN, Patterns, check_groups, group_by_pattern
from vita_jax.papers.asg.recipe import Recipe, teaches_itself

Tree = Any
HEAD_GROUP = {"head": "^head/"}


class Seen(NamedTuple):
  """What a student sees.

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
    teacher: the pretrained network, whose trunk is the student's, too.
    pixels: whether the new head is that of FCN-8s, which labels every pixel.
    classes: of the new task.
    hidden: width of the new head's first layer; 0: it has one.
    groups: parameter's path -> name of its layer group.
    loaded: the teacher's weights from a file, or None: they are trained here.
  """

  teacher: Pretrained
  pixels: bool
  classes: int
  hidden: int
  groups: Patterns
  loaded: Tree

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
    """The path of the last layer's weights, which the controller observes."""
    return "head/upscore8/kernel" if self.pixels else "head/out/kernel"

  def moved(self, form: str) -> Nets:
    """Returns the same networks for another place in a program."""
    return self._replace(teacher=self.teacher._replace(form=form))


def nets_of(recipe: Recipe, classes: int, old_groups: np.ndarray | None) -> Nets:
  """Makes the networks of a run and reads the teacher, where a file has it.

  Raises:
    FileNotFoundError: no weights.
    ValueError: weights of another network, a parameter in no group, or a group without parameters.
  """
  net, pixels = recipe.net, recipe.pixels
  kind = "vgg16" if pixels else net.kind
  own_task = kind == "cnn" or (pixels and not net.weights)  # else ImageNet's
  old_classes = len(old_groups) if own_task and old_groups is not None else pretrained.IMAGENET
  size = 0 if pixels else recipe.data.size
  teacher = Pretrained(kind, old_classes, size, net.width, recipe.dtype, recipe.form)
  loaded = None if teaches_itself(net) else pretrained.load(teacher, net.weights or None)
  nets = Nets(teacher, pixels, classes, net.hidden, group_by_pattern(_patterns(recipe)), loaded)
  shapes = jax.eval_shape(lambda key: first_weights(nets, key), jax.random.key(0))
  check_groups(nets.groups, nets.names, shapes[0])
  return nets


def _patterns(recipe: Recipe) -> dict[str, str]:
  rates = recipe.rates
  if rates.kind == "fixed" and not (rates.backbone or rates.decay or rates.trained):
    # Features stay: of EfficientNet, the last convolution, too, which else is of the head's group.
    if recipe.pixels:
      return {FROZEN: "^trunk/trunk/", "head": "^(head|trunk/fc[67])/"}
    return {FROZEN: "^trunk/", **HEAD_GROUP}
  if rates.kind == "probe_first":
    return {"trunk": "^trunk/", **HEAD_GROUP}
  if recipe.net.groups:
    return dict(entry.split("=", 1) for entry in recipe.net.groups)
  return pretrained.GROUPS["vgg16" if recipe.pixels else recipe.net.kind]


def first_weights(nets: Nets, key: jax.Array) -> tuple[Tree, Tree]:
  """Returns (params, teacher): the given teacher or one that is drawn, and a student of it."""
  teacher_key, head_key = jax.random.split(key)
  if nets.loaded is None:
    teacher = pretrained.draw(nets.teacher, teacher_key)
  else:
    teacher = jax.tree.map(jnp.asarray, nets.loaded)
  return student_of(nets, teacher, head_key), teacher


def student_of(nets: Nets, teacher: Tree, key: jax.Array) -> Tree:
  """Returns the parameters that fine-tuning starts from: the teacher's trunk, and a head that is drawn."""
  trunk = start_of(nets, teacher)
  if nets.pixels:
    drawn = _fcn(nets.moved("native")).init(key, jnp.zeros((1, 32, 32, 3)))["params"]
    return {"trunk": trunk, "head": {name: x for name, x in drawn.items() if name not in trunk}}
  width = teacher["old"]["kernel"].shape[0]
  return {"trunk": trunk, "head": Head(nets.hidden, nets.classes).init(key, jnp.zeros((1, width)))["params"]}


def start_of(nets: Nets, teacher: Tree) -> Tree:
  """Returns the trunk that a student of this teacher starts from, in buffers of its own."""
  trunk = teacher["trunk"]
  if nets.pixels:
    fc6, fc7 = (teacher["old"][name] for name in ("fc6", "fc7"))
    places, width = fcn.POOLED, fc6["kernel"].shape[-1]
    fc6 = {**fc6, "kernel": fc6["kernel"].reshape(places, places, -1, width)}  # a convolution that sees all
    trunk = {"trunk": trunk, "fc6": fc6, "fc7": {**fc7, "kernel": fc7["kernel"][None, None]}}
  return jax.tree.map(lambda x: jnp.array(x, copy=True), trunk)


def see(nets: Nets, params: Tree, teacher: Tree, images: jax.Array) -> Seen:
  """Runs a student, whose old logits come from the teacher's old head.

  Args:
    nets: the networks.
    params: {"trunk", "head"}.
    teacher: {"trunk", "old", "stats"}; its trunk is not used.
    images: uint8 [n, h, w, c].
  """
  net, trunk = nets.teacher, params["trunk"]
  if nets.pixels:
    seen: Any = _fcn(nets).apply({"params": {**trunk, **params["head"]}}, pretrained.prepared(net, images))
    old, features = pretrained.old_of_maps(net, teacher["old"], seen.pool5)
    return Seen(seen.logits.astype(jnp.float32), old, features)
  old, features = pretrained.old_of(net, {**teacher, "trunk": trunk}, images)
  logits = Head(nets.hidden, nets.classes).apply({"params": params["head"]}, features)
  return Seen(jnp.asarray(logits), old, features)


def teach(nets: Nets, teacher: Tree, images: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Computes the teacher's old logits and pooled features, through which no gradient passes."""
  return jax.lax.stop_gradient(pretrained.old_of(nets.teacher, teacher, images))


def _fcn(nets: Nets) -> fcn.FCN8s:
  net, scales = nets.teacher, fcn.SCALES if nets.loaded else (1.0, 1.0)  # trained here: no large values
  return fcn.FCN8s(nets.classes, net.widths, 64 * net.width, scales, net.form)
