"""Functions of pixels and the faces that they see, evaluated where there is something to see.

A mesh seldom fills its picture: a standing figure covers a twelfth of a square one. On the CPU the pixels that see a
face are listed first, and where they are few the function is evaluated at those alone; else, and on
accelerators, at all pixels. Gradients take the same way. Results do not depend on which way was taken.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.render.views import view_by_view

SMALL = 1 << 12  # pixels of a picture that is not worth a list
SHARE = 8  # the list holds one pixel in so many

# f(shared, tables, at, face, pixel) -> tree of [N, ...]; see `where_seen`.
PixelFunction = Callable[..., Any]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def where_seen(f: PixelFunction, shared: Any, tables: Any, at: Any, face: jax.Array) -> Any:
  """Evaluates a function at every pixel that sees a face; the others get zeros.

  Differentiable once, in reverse mode.

  Args:
    f: `f(shared, tables, at, face, pixel) -> tree of [N, ...]`, pure, without closure over traced values, one
      pixel at a time: `at` are the data of N pixels, `face` (0 or more) and `pixel` their faces and numbers.
      It must be finite, with finite gradients, for face 0 at any pixel.
    shared: tree of anything, differentiated (what faces and vertices have, a texture, a light).
    tables: tree of integers, which f reads as well.
    at: tree of [P, ...], differentiated.
    face: int32 [P], -1 for none.

  Returns:
    Tree of [P, ...].
  """
  return _forward(f, shared, tables, at, face)[0]


def _forward(f, shared, tables, at, face):
  few = functools.partial(_evaluate, f)
  run = view_by_view(few, batched=functools.partial(_evaluate_all, f))
  return run(shared, tables, at, face), (shared, tables, at, face)


def _backward(f, kept, cotangent):
  shared, tables, at, face = kept
  few = functools.partial(_pull, f)
  run = view_by_view(few, batched=functools.partial(_pull_all, f))
  d_shared, d_at = run(shared, tables, at, face, cotangent)
  return d_shared, None, d_at, None


where_seen.defvjp(_forward, _backward)


def _evaluate(f, shared, tables, at, face):
  if face.size < SMALL:
    return _evaluate_all(f, shared, tables, at, face)
  pixel, fits = _list(face)

  def few(shared, tables, at, face):
    values = f(shared, tables, _take(at, pixel), face.at[pixel].get(mode="fill", fill_value=0), pixel)
    return jax.tree.map(lambda x: jnp.zeros((face.size, *x.shape[1:]), x.dtype).at[pixel].set(x, mode="drop"), values)

  return jax.lax.cond(fits, few, functools.partial(_evaluate_all, f), shared, tables, at, face)


def _evaluate_all(f, shared, tables, at, face):
  values = f(shared, tables, at, jnp.maximum(face, 0), jnp.arange(face.size))
  return jax.tree.map(lambda x: _masked(x, face), values)


def _pull(f, shared, tables, at, face, cotangent):
  if face.size < SMALL:
    return _pull_all(f, shared, tables, at, face, cotangent)
  pixel, fits = _list(face)

  def few(shared, tables, at, face, cotangent):
    faces = face.at[pixel].get(mode="fill", fill_value=0)
    _, pull = jax.vjp(lambda shared, own: f(shared, tables, own, faces, pixel), shared, _take(at, pixel))
    d_shared, d_own = pull(_take(cotangent, pixel))
    return d_shared, jax.tree.map(lambda x, d: jnp.zeros_like(x).at[pixel].set(d, mode="drop"), at, d_own)

  return jax.lax.cond(fits, few, functools.partial(_pull_all, f), shared, tables, at, face, cotangent)


def _pull_all(f, shared, tables, at, face, cotangent):
  faces, pixel = jnp.maximum(face, 0), jnp.arange(face.size)
  _, pull = jax.vjp(lambda shared, at: f(shared, tables, at, faces, pixel), shared, at)
  return pull(jax.tree.map(lambda x: _masked(x, face), cotangent))


def _list(face: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(numbers of the pixels that see a face, in order, then P; whether all of them are in that list)."""
  there = face >= 0
  ends = jnp.cumsum(there.astype(jnp.int32))
  room = -(-face.size // SHARE)
  pixels = jnp.arange(face.size, dtype=jnp.int32)
  listed = jnp.full(room, face.size, jnp.int32)
  return listed.at[jnp.where(there, ends - 1, room)].set(pixels, mode="drop"), ends[-1] <= room


def _take(tree: Any, pixel: jax.Array) -> Any:
  """Rows of [P, ...]; zeros beyond the list's end."""
  return jax.tree.map(lambda x: x.at[pixel].get(mode="fill", fill_value=0), tree)


def _masked(x: jax.Array, face: jax.Array) -> jax.Array:
  there = (face >= 0).reshape(face.shape + (1,) * (x.ndim - 1))
  return jnp.where(there, x, jnp.zeros_like(x))
