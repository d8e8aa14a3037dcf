"""The networks of a run: a supernet to search, or one network that is trained by itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.compress.counts import count_parameters, traced_macs
from vita_jax.nn.hrnet import HRNet
from vita_jax.nn.resize import resize
from vita_jax.nn.resnet import preprocessed
from vita_jax.nn.simple_baseline import SimpleBaseline
from vita_jax.papers.autopose.recipe import Recipe
from vita_jax.search.branches.costs import TOLERANCE, Shape, costs_of, fitted, macs
from vita_jax.search.branches.derived import derived
from vita_jax.search.branches.genotype import Genotype, read_genotype
from vita_jax.search.branches.space import network_of, on_host, preset, token_space
from vita_jax.search.branches.supernet import Supernet
from vita_jax.search.tokens import TokenSpace

Tree = Any


class Nets(NamedTuple):
  """The networks of a run.

  Attributes:
    tokens: of the space.
    fixed: int32 [T]: the network level where it is not searched.
    supernet: what a search trains.
    single: a module images -> maps that is trained by itself; None in a search, and without any network.
    genotype: its architecture, where it is of the space.
    shape: widths and sizes, fitted to the budget.
    macs: multiply-adds of `single` for one crop.
  """

  tokens: TokenSpace
  fixed: np.ndarray
  supernet: Supernet
  single: nn.Module | None
  genotype: Genotype | None
  shape: Shape
  macs: float


class MeanPose(nn.Module):
  """No network: maps that are 0; the report puts the median pose of the training crops in their place."""

  maps: tuple[int, int]
  joints: int

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    del train
    zero = self.param("zero", nn.initializers.zeros, ())
    return jnp.zeros((images.shape[0], *self.maps, self.joints)) + zero


class Enlarged(nn.Module):
  """A network of stride 4 on pictures of twice the size, so that its maps have a stride of 2."""

  net: nn.Module
  factor: int = 2

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    size = images.shape[1] * self.factor, images.shape[2] * self.factor
    return self.net(resize(images, size) if self.factor > 1 else images, train=train)


def nets_of(recipe: Recipe, joints: int) -> Nets:
  """Makes the networks of a run.

  Raises:
    FileNotFoundError, ValueError: no such genotype, or widths that do not fit the budget.
  """
  model, space = recipe.model, recipe.space
  shape = Shape(model.channels, model.stem, joints, tuple(recipe.data.size), model.stride)
  genotype, cost = None, 0.0
  single: nn.Module | None = None
  if not recipe.searches and model.kind == "derived":
    genotype = read_genotype(recipe.genotype, space)
    _check_size(genotype, shape)
    shape = fitted(genotype.space, shape, genotype.network, genotype.cells, recipe.macs)
    single = derived(genotype.network, genotype.cells, shape, form=recipe.form)
    cost = float(macs(costs_of(genotype.space, shape), genotype.network, genotype.cells))
  elif model.kind == "mean":
    single = MeanPose(shape.maps, joints)
  elif not recipe.searches:
    single, shape, cost = _baseline(recipe, shape)
  plain = recipe.cell.kind == "plain"
  supernet = Supernet(space, shape, plain, recipe.search.remat)
  fixed = preset(space, recipe.network.preset)
  return Nets(token_space(space), fixed, supernet, single, genotype, shape, cost)


def _check_size(genotype: Genotype, shape: Shape) -> None:
  least = shape.stride * 2 ** (genotype.space.branches - 1)
  if any(n % least for n in shape.size):
    raise ValueError(
      f"the genotype has {genotype.space.branches} branches, so config.data.size must be multiples of"
      f" {least}, not {shape.size}"
    )


def _baseline(recipe: Recipe, shape: Shape) -> tuple[nn.Module, Shape, float]:
  """Makes HRNet or SimpleBaseline, reduced or as published, its widths fitted to the budget."""
  factor, published = 4 // shape.stride, recipe.model.published

  def make(channels: int, stem: int, form: str) -> nn.Module:
    if recipe.model.kind == "simple_baseline":
      depth = 50 if published else 18
      return SimpleBaseline(shape.outputs, depth, channels, (stem,) * 3, form=form)
    if published:
      return HRNet(shape.outputs, channels, stem=stem, form=form)
    modules = (1,) * max(1, recipe.space.branches - 1)
    return HRNet(shape.outputs, channels, modules, blocks=1, bottlenecks=1, stem=stem, start="he", form=form)

  @functools.cache
  def cost(channels: int, stem: int) -> float:
    net, image = make(channels, stem, "native"), jnp.zeros((1, *(factor * n for n in shape.size), 3))
    variables = jax.eval_shape(net.init, jax.random.key(0), image)
    return float(traced_macs(lambda v, x: net.apply(v, x), variables, image))

  if recipe.macs:
    shape = _fitted_pair(shape, cost, recipe.macs)
  net = Enlarged(make(shape.channels, shape.stem, recipe.form), factor)
  return net, shape, cost(shape.channels, shape.stem)


def _fitted_pair(shape: Shape, cost: Callable[[int, int], float], target: float) -> Shape:
  """Fits channels and stem to a cost that is a quadratic of both, measured at six places.

  That of HRNet is not where channels are 4 times the stem, which saves a layer: none of the six is there.
  """
  places = [(4, 4), (8, 4), (12, 4), (4, 8), (4, 16), (8, 8)]
  rows = np.array([_monomials(*place) for place in places])
  weights = np.linalg.solve(rows, np.array([cost(*place) for place in places]))
  stems = range(max(2, shape.stem // 2), 2 * shape.stem + 1)
  grid = [(c, s) for c in range(2, 257) for s in stems if c != 4 * s]
  off = np.abs(np.array([_monomials(*place) for place in grid]) @ weights / target - 1)
  fits = [(abs(s - shape.stem), o, c, s) for (c, s), o in zip(grid, off, strict=True) if o <= TOLERANCE]
  if not fits:
    c, s = grid[int(off.argmin())]
    raise ValueError(
      f"no widths make this network cost {target:.4g} multiply-adds within {TOLERANCE:.0%}: the nearest are"
      f" {c} channels and a stem of {s}, {off.min():.0%} off; change config.budget.macs"
    )
  *_, c, s = min(fits)
  return shape._replace(channels=c, stem=s)


def _monomials(c: float, s: float) -> list[float]:
  return [1.0, c, s, c * c, c * s, s * s]


def prepared(images: jax.Array, dtype: str) -> jax.Array:
  """Returns bytes [n, h, w, 3] as networks take them."""
  return preprocessed(images.astype(jnp.float32) / 255.0).astype(dtype)


def parameters_of(nets: Nets, genotype: Genotype) -> int:
  """Counts the parameters of a derived network at the run's widths."""
  module = derived(genotype.network, genotype.cells, nets.shape)
  image = jax.ShapeDtypeStruct((1, *nets.shape.size, 3), jnp.float32)
  return count_parameters(jax.eval_shape(lambda x: module.init(jax.random.key(0), x), image)["params"])


def genotype_of(nets: Nets, tokens: Any, cells: Any, facts: dict[str, Any]) -> Genotype:
  """Makes a genotype from arrays of a search."""
  plain = nets.supernet.plain
  found = Genotype(nets.supernet.space, np.asarray(tokens), None if plain else np.asarray(cells))
  network = on_host(network_of(found.space, found.tokens))
  cost = float(macs(costs_of(found.space, nets.shape), network, found.cells))
  more = {"macs": cost, "parameters": parameters_of(nets, found), "widths": nets.shape._asdict()}
  return found._replace(facts={**facts, **more})
