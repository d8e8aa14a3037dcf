"""The networks of a run: teacher, student, discriminator; a teacher from a file; the smaller student."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from vita_jax.base.files import read_json
from vita_jax.base.keys import flat
from vita_jax.base.tree import named_leaves, path_name
from vita_jax.compress import count_macs, counts_of, cut, layer_bytes
from vita_jax.data.files import read_safetensors
from vita_jax.nn.channels import Graph
from vita_jax.nn.gan import (
  CartoonGenerator,
  PatchDiscriminator,
  ResnetGenerator,
  cartoon_widths,
  resnet_widths,
)
from vita_jax.nn.gan_files import from_cyclegan
from vita_jax.papers.gan_slimming.recipe import Recipe

State = Mapping[str, Any]
DISCRIMINATOR = "discriminator.safetensors"  # of a teacher, beside the generator that is exported
MEASURED = 256  # side of the picture that multiply-adds are counted for


class Nets(NamedTuple):
  """The modules of a run.

  Attributes:
    teacher: the dense generator, never quantised.
    student: what is trained: the same, or a narrow one; quantised where the recipe says so.
    discriminator: of patches.
    graph: the student's channels.
    loaded: parameters from a file: `generator` (the teacher), and `discriminator` where it has one; or None.
  """

  teacher: Any
  student: Any
  discriminator: Any
  graph: Graph
  loaded: Any


def nets_of(recipe: Recipe) -> Nets:
  """Makes the networks and reads the teacher, where a file has it.

  Raises:
    FileNotFoundError: no such teacher.
    ValueError: a teacher of another shape than the recipe's, or a budget that no student can meet.
  """
  teacher, loaded = _dense(recipe), None
  discriminator = PatchDiscriminator(
    recipe.discriminator.width, recipe.discriminator.depth, form=recipe.form, dtype=recipe.dtype
  )
  if recipe.teacher.path:
    teacher, loaded = _loaded(recipe, teacher, discriminator)
    if recipe.channels == "evolution" and "discriminator" not in loaded:
      raise ValueError(
        f"config.teacher.path={recipe.teacher.path} has no discriminator, by which config.channels=evolution"
        " judges: give a run of the method teacher that launch/export.py has not rewritten"
      )
  student = teacher
  if recipe.student == "narrow":
    student = narrowed(recipe, teacher)
  stream = recipe.generator.stream
  student = student.clone(quant=recipe.quant, **({"stream_gate": True} if stream else {}))
  return Nets(teacher, student, discriminator, student.channel_graph(stream=stream), loaded)


def _dense(recipe: Recipe) -> Any:
  keys = recipe.generator
  options: dict[str, Any] = {"output": keys.output, "form": recipe.form, "dtype": recipe.dtype}
  if keys.kind == "cartoon":
    return CartoonGenerator(cartoon_widths(keys.base, keys.blocks), **options)
  return ResnetGenerator(resnet_widths(keys.base, keys.blocks), **options)


def _loaded(recipe: Recipe, dense: Any, discriminator: Any) -> tuple[Any, Any]:
  """The teacher of a finished run's folder, or of a safetensors file, with its parameters."""
  path = Path(recipe.teacher.path).expanduser()
  file = path if path.is_file() else path / "export" / "params.safetensors"
  _check_run(file, path, recipe)
  arrays = read_safetensors(file)
  if not any(name.split("/")[0] in ("stem", "generator") for name in arrays):
    return _from_torch(file, arrays, recipe, dense)
  loaded = unflatten_dict(arrays, sep="/")
  if "generator" not in loaded:  # as launch/export.py writes it, the discriminator beside it
    beside, loaded = file.with_name(DISCRIMINATOR), {"generator": loaded}
    if beside.is_file():
      loaded["discriminator"] = unflatten_dict(read_safetensors(beside), sep="/")
  if unknown := sorted(loaded.keys() - {"generator", "discriminator"}):
    raise ValueError(
      f"{file} has a network '{unknown[0]}', which no run of this version writes: train the teacher again"
    )
  _check_shapes(file, "generator", loaded["generator"], dense)
  if "discriminator" in loaded:
    _check_shapes(file, "discriminator", loaded["discriminator"], discriminator)
  return dense, loaded


def _from_torch(file: Path, arrays: Any, recipe: Recipe, dense: Any) -> tuple[Any, Any]:
  if recipe.generator.kind != "resnet":
    raise ValueError(f"{file} is no teacher of ours, and those of torch are of config.generator.kind=resnet")
  try:
    theirs, params = from_cyclegan(arrays)
  except ValueError as error:
    raise ValueError(f"{file}: {error}") from error
  if theirs.images != dense.images:
    raise ValueError(f"{file} makes pictures of {theirs.images} channel(s); here they have {dense.images}")
  return dense.clone(widths=theirs.widths, output="tanh"), {"generator": params}


def _check_shapes(file: Path, kind: str, params: Any, net: Any) -> None:
  wanted = {name: x.shape for name, x in named_leaves(shapes_of(net)["params"]).items()}
  found = {name: np.shape(x) for name, x in named_leaves(params).items()}
  for name in sorted(wanted.keys() | found.keys()):
    if wanted.get(name) != found.get(name):
      raise ValueError(
        f"{file}: '{name}' of the {kind} is {found.get(name, 'missing')}, and config.{kind} makes it"
        f" {wanted.get(name, 'no array')}: give the settings that the teacher was trained with (no"
        " student that launch/export.py has cut)"
      )


def _check_run(file: Path, path: Path, recipe: Recipe) -> None:
  """Checks that the weights are there, and settings beside them that shapes do not tell."""
  if not file.is_file():
    raise FileNotFoundError(
      f"no teacher at {file}: train one (--config=configs/gan_slimming/<style>.py:teacher --workdir={path}),"
      " or give another config.teacher.path"
    )
  settings = file.with_name("config.json")
  stored = flat(read_json(settings)["config"]) if settings.is_file() else {}
  for name in ("kind", "output"):
    theirs, ours = stored.get(f"generator.{name}", ""), getattr(recipe.generator, name)
    if theirs and theirs != ours:
      raise ValueError(
        f"config.generator.{name} is {ours}, and the teacher of {path} has {theirs}: take that"
      )


def shapes_of(net: Any, size: int = 32) -> Any:
  """Returns the shapes of a network's variables."""
  return jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, size, size, net.images)))


def macs(generator: Any, *, convention: str = "true") -> int:
  """Counts the multiply-adds of a generator for a picture of 256 x 256."""
  return count_macs(generator.layers, MEASURED, MEASURED, convention=convention)


def stored(recipe: Recipe) -> dict[str, Any]:
  """Returns how a student's kernels are stored, as `layer_bytes` and `live_bytes` take it."""
  if recipe.quant is None:
    return {"bits": 0}
  return {"bits": recipe.quant.weight_bits, "per_channel": recipe.quant.per_channel}


def narrowed(recipe: Recipe, teacher: Any) -> Any:
  """Makes the narrow student of GD: half of every width (the paper's), or the widest within the budget."""
  widths = teacher.widths

  def scaled(share: float) -> Any:
    def one(n: int) -> int:
      return max(1, int(n * share))

    return teacher.clone(widths=type(widths)(*jax.tree.map(one, tuple(widths))))

  if not (recipe.budget.macs or recipe.budget.bytes):
    return scaled(0.5)
  for n in range(widths.stem, 0, -1):
    small = scaled(n / widths.stem)
    share = max(
      macs(small) / macs(teacher) / (recipe.budget.macs or 1.0),
      layer_bytes(small.layers, **stored(recipe))
      / layer_bytes(teacher.layers)
      / (recipe.budget.bytes or 1.0),
    )
    if share <= 1:
      return small
  raise ValueError("config.budget is below what a generator with a stem of 1 channel costs: raise it")


def init(net: Any, key: jax.Array, size: int) -> dict[str, Any]:
  """Draws the variables of a network for images of size x size: "params", and "clips" where there are any."""
  return dict(jax.jit(net.init)(key, jnp.zeros((1, size, size, net.images))))  # operation by operation: 5 s


def started(fresh: Any, teacher: Any) -> Any:
  """Returns the parameters with those that the teacher has of the same name: dense initialisation."""
  theirs = named_leaves(teacher)
  return jax.tree_util.tree_map_with_path(
    lambda path, x: jnp.asarray(theirs.get(path_name(path), x), jnp.float32), fresh
  )


def variables_of(params: Any, clips: Any) -> dict[str, Any]:
  """Joins parameters and clips, which may be None."""
  return {"params": params} if clips is None else {"params": params, "clips": clips}


def extracted(nets: Nets, state: State) -> tuple[Any, dict[str, Any]]:
  """Cuts the channels that are not kept out of the student: (smaller generator, its variables as numpy).

  It computes what the masked one does, exactly (up to the order of sums).
  """
  params = jax.device_get(state["params"]["generator"])
  clips = jax.device_get(state["clips"]) if "clips" in state else None
  if "kept" not in state:  # of a teacher
    return nets.teacher, variables_of(params, clips)
  kept = {name: np.asarray(mask) for name, mask in state["kept"].items()}
  small = nets.student.resized(counts_of(kept))
  if clips is not None:
    names = {layer.name for layer in small.layers}
    clips = {name: x for name, x in clips.items() if name in names}
  return small, variables_of(cut(params, nets.graph, kept), clips)


def describe(generator: Any) -> str:
  """Returns what it takes to make the generator again, as JSON text: kind, widths, output, quantisation."""
  kind = "cartoon" if isinstance(generator, CartoonGenerator) else "resnet"
  quant = None if generator.quant is None else generator.quant._asdict()
  facts = {"kind": kind, "widths": generator.widths._asdict(), "output": generator.output, "quant": quant}
  return json.dumps(facts)
