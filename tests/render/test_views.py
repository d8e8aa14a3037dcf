"""A view in `jax.vmap` is what it is alone: over views and meshes, nested, on each side of `jax.grad`."""

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


def _scene(seed):
  vertices, faces = random_mesh(seed, 6, edge=0.7)
  rng, corners = np.random.default_rng(seed), jnp.asarray(faces)
  uv, texture = (jnp.asarray(rng.uniform(size=shape), jnp.float32) for shape in ((18, 2), (4, 5, 3)))
  return render.Mesh(jnp.asarray(vertices), corners, uv=uv, face_uv=corners, texture=texture)


def _stack(trees):
  return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def _silhouette(body, camera, found):
  return render.silhouette(body, camera, SIZE, sigma=1e-3)


def _depth(body, camera, found):
  return render.fragments(body, camera, render.visibility(body, camera, SIZE)).depth


def _shade(body, camera, found):
  return render.shade(found, body, camera, lights=render.Lights()).color


@pytest.mark.parametrize(
  "picture", [_depth, *(pytest.param(f, marks=pytest.mark.slow) for f in (_silhouette, _shade))]
)
def test_views_and_meshes_in_a_batch_equal_each_alone(picture, monkeypatch):
  """Up to rounding: XLA fuses (and so contracts) the body of a loop otherwise than a program of its own."""
  monkeypatch.setattr(pairs, "WINDOWS", (16,))  # one loop, not three: compiling takes long
  cameras = [render.perspective_camera(render.orbit(3.0, 100.0 * i), near=1.0) for i in range(2)]
  meshes = [_scene(0), _scene(1)]
  found = [[render.rasterize(mesh, camera, SIZE) for camera in cameras] for mesh in meshes]

  def total(given, mesh, camera, found):
    body = mesh._replace(vertices=given[0], texture=given[1])
    shown = picture(body, camera, found)
    return jnp.sum(shown), shown

  slope = jax.grad(total, has_aux=True)
  given = [(mesh.vertices, mesh.texture) for mesh in meshes]
  one = jax.jit(slope)
  alone = [[one(given[m], meshes[m], cameras[c], found[m][c]) for c in range(2)] for m in range(2)]
  views, bodies, every = _stack(cameras), _stack(meshes), _stack([_stack(row) for row in found])

  if picture is _depth:  # which faces are seen is exact
    see = jax.jit(jax.vmap(lambda camera: render.visibility(meshes[0], camera, SIZE)))
    np.testing.assert_array_equal(see(views), np.stack([found[0][c].face for c in range(2)]))
  each = jax.vmap(slope, (None, None, 0, 0))
  _equal(jax.jit(each)(given[0], meshes[0], views, _stack(found[0])), _stack(alone[0]))
  nested = jax.jit(jax.vmap(each, (0, 0, None, 0)))(_stack(given), bodies, views, every)
  _equal(nested, _stack([_stack(row) for row in alone]))

  @jax.jit
  @jax.grad
  def slopes(given, bodies, camera, found):
    return jnp.sum(jax.vmap(total, (0, 0, None, 0))(given, bodies, camera, found)[0])

  firsts = _stack([row[0] for row in alone])[0]
  _equal(slopes(_stack(given), bodies, cameras[0], jax.tree.map(lambda x: x[:, 0], every)), firsts)


def _equal(one, other):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6), one, other)
