"""A view in `jax.vmap` is what it is alone, in values and gradients: over views, meshes, nested, on each side of grad."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render.dense import random_mesh
from vita_jax import render
from vita_jax.render import pairs
from vita_jax.render.views import view_by_view

SIZE = (12, 12)


def _sum_below(limits, table, at):
  """A loop whose length follows the data: the sum of the table's entries before `at`, and of `limits`."""

  def step(state):
    i, total = state
    return i + 1, total + table[i]

  return {"sum": jax.lax.while_loop(lambda state: state[0] < at, step, (0, 0.0))[1] + jnp.sum(limits["x"])}


def test_a_function_gives_the_same_for_each_view_whatever_is_batched_and_nested():
  one = view_by_view(_sum_below)
  limits, table = {"x": jnp.array([0.5, 0.25]), "none": None}, jnp.arange(9.0)
  at = jnp.arange(6).reshape(2, 3)
  expected = 0.75 + at * (at - 1) / 2
  every = jax.vmap(jax.vmap(one, (None, None, 0)), (None, None, 0))
  np.testing.assert_array_equal(every(limits, table, at)["sum"], expected)
  np.testing.assert_array_equal(jax.jit(every)(limits, table, at)["sum"], expected)
  tables = jnp.stack([table, table + 1])
  both = jax.vmap(jax.vmap(one, (None, None, 0)), ({"x": None, "none": None}, 0, None))(limits, tables, at[0])
  np.testing.assert_array_equal(both["sum"], expected[:1] + np.array([[0], [1]]) * np.arange(3))


def test_views_are_a_loop_on_the_cpu_and_a_batch_for_accelerators():
  def run(x):
    return jax.vmap(view_by_view(jnp.cumsum))(x)

  lowered = {
    platform: jax.jit(run).trace(jnp.ones((3, 4))).lower(lowering_platforms=(platform,)).as_text()
    for platform in ("cpu", "cuda", "tpu")
  }
  assert {name: "stablehlo.while" in text for name, text in lowered.items()} == {
    "cpu": jax.device_count() == 1,
    "cuda": False,
    "tpu": False,
  }


@functools.cache
def _scene(seed):
  vertices, faces = random_mesh(seed, 6, edge=0.7)
  corners = jnp.asarray(faces)
  texture = jnp.asarray(np.random.default_rng(seed).uniform(size=(4, 5, 3)), jnp.float32)
  uv = jnp.asarray(np.random.default_rng(seed).uniform(size=(18, 2)), jnp.float32)
  return render.Mesh(jnp.asarray(vertices), corners, uv=uv, face_uv=corners, texture=texture)


def _loss(mesh, vertices, texture, camera):
  body = mesh._replace(vertices=vertices, texture=texture)
  found = render.rasterize(body, camera, SIZE)
  image = render.shade(found, body, camera, lights=render.Lights())
  soft = render.silhouette(body, camera, SIZE, sigma=1e-3)
  return jnp.sum(image.color**2) + jnp.sum(found.depth) + jnp.sum(soft**2)


_one = jax.jit(jax.value_and_grad(_loss, (1, 2)))


def _equal(together, singles):
  for many, *each in zip(*map(jax.tree.leaves, (together, *singles)), strict=True):
    np.testing.assert_array_equal(many, np.stack(each))


def test_views_and_meshes_in_a_batch_equal_each_alone(monkeypatch):
  monkeypatch.setattr(pairs, "WINDOWS", (16,))  # one loop instead of three: compiling is the time of this test
  cameras = [render.perspective_camera(render.orbit(3.0, 100.0 * i), near=1.0) for i in range(3)]
  views = jax.tree.map(lambda *x: jnp.stack(x), *cameras)
  meshes = [_scene(0), _scene(1)]
  alone = [[_one(mesh, mesh.vertices, mesh.texture, camera) for camera in cameras] for mesh in meshes]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *meshes)

  each = jax.vmap(jax.value_and_grad(_loss, (1, 2)), (None, None, None, 0))
  _equal(jax.jit(each)(meshes[0], meshes[0].vertices, meshes[0].texture, views), alone[0])
  nested = jax.jit(jax.vmap(each, (0, 0, 0, None)))(stacked, stacked.vertices, stacked.texture, views)
  _equal(nested, [jax.tree.map(lambda *x: np.stack(x), *row) for row in alone])

  @jax.jit
  @functools.partial(jax.grad, argnums=(1, 2))
  def slopes(meshes, vertices, texture, camera):
    return jnp.sum(jax.vmap(_loss, (0, 0, 0, None))(meshes, vertices, texture, camera))

  _equal(slopes(stacked, stacked.vertices, stacked.texture, cameras[0]), [row[0][1] for row in alone])
