"""Functions of pixels and the faces that they see, evaluated where there is something to see.

A mesh seldom fills its picture: a standing figure covers less than a tenth of a square one. On the CPU the
pixels that see a face are listed first, and where they are few the function is evaluated at those alone;
else, and on accelerators, at all pixels. Gradients go the same way. What is computed is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

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
  return _choose(_evaluate, _evaluate_all, f, face)(shared, tables, at, face)


def _forward(f, shared, tables, at, face):
  return where_seen(f, shared, tables, at, face), (shared, tables, at, face)


def _backward(f, kept, cotangent):
  d_shared, d_at = _choose(_pull, _pull_all, f, kept[3])(*kept, cotangent)
  return d_shared, None, d_at, None


where_seen.defvjp(_forward, _backward)


def _choose(few: Callable[..., Any], every: Callable[..., Any], f: PixelFunction, face: jax.Array) -> Any:
  """The form at some of the pixels, on the CPU, where they are few; else the form at all of them."""
  dense = functools.partial(every, f)
  if face.size < SMALL:
    return dense

  def listed(*args: Any) -> Any:
    pixel, fits = _list(args[3])
    return jax.lax.cond(fits, functools.partial(few, f, pixel), dense, *args)

  return lambda *args: jax.lax.platform_dependent(*args, cpu=listed, default=dense)


def _evaluate(f, pixel, shared, tables, at, face):
  values = f(shared, tables, _take(at, pixel), face.at[pixel].get(mode="fill", fill_value=0), pixel)
  return jax.tree.map(lambda x: _spread(x, pixel, face.size), values)


def _evaluate_all(f, shared, tables, at, face):
  values = f(shared, tables, at, jnp.maximum(face, 0), jnp.arange(face.size))
  return jax.tree.map(lambda x: _masked(x, face), values)


def _pull(f, pixel, shared, tables, at, face, cotangent):
  faces = face.at[pixel].get(mode="fill", fill_value=0)
  _, pull = jax.vjp(lambda shared, own: f(shared, tables, own, faces, pixel), shared, _take(at, pixel))
  d_shared, d_own = pull(_take(cotangent, pixel))
  return d_shared, jax.tree.map(lambda x: _spread(x, pixel, face.size), d_own)


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


def _spread(x: jax.Array, pixel: jax.Array, count: int) -> jax.Array:
  """Inverts `_take`: [N, ...] -> [P, ...], zeros at pixels that are not listed."""
  return jnp.zeros((count, *x.shape[1:]), x.dtype).at[pixel].set(x, mode="drop")


def _masked(x: jax.Array, face: jax.Array) -> jax.Array:
  there = (face >= 0).reshape(face.shape + (1,) * (x.ndim - 1))
  return jnp.where(there, x, jnp.zeros_like(x))
