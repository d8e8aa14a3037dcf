"""The forms of a convolution: `lax.conv_general_dilated` and products over shifted images; see `conv.py`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.nn.depthwise import kernel_gradient

Pads = tuple[tuple[int, int], ...]


class Window(NamedTuple):
  """How a kernel walks over an image: a number, or (before, after), for each axis."""

  stride: tuple[int, ...]
  pads: Pads
  dilation: tuple[int, ...]
  groups: int
  extra: tuple[int, ...] = ()


Form = Callable[[Window, jax.Array, jax.Array], jax.Array]


def native(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Convolves by the library."""
  return jax.lax.conv_general_dilated(
    x,
    w,
    window.stride,
    window.pads,
    rhs_dilation=window.dilation,
    dimension_numbers=_numbers(x),
    feature_group_count=window.groups,
  )


def native_on_cpu(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Convolves images by the library as is fast on the CPU: with a row of padding, which is cut off again.

  The library is slow where nothing is padded, the more the longer the kernel: 7x7, 42 -> 12 channels, 4
  images of 64 x 64 and its gradients take 78 ms, here 43 (one core, jaxlib 0.10.2; launch/benchmark.py
  mm_hand prints its layers in both ways).
  """
  plain = x.ndim == 4 and all(s == 1 for s in window.stride)
  if not plain or any(map(any, window.pads)):
    return native(window, x, w)
  return native(window._replace(pads=((1, 0), (0, 0))), x, w)[:, 1:]


def shifted(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Convolves as one product over shifted images; depthwise: as their weighted sum."""
  if window.groups == x.shape[-1] == w.shape[-1] > 1:
    return _depthwise(window, x, w)
  return _shifted(window, x, w)


def forward_at_top(window: Window, w: jax.Array) -> Form | None:
  """Returns what beats the library's forward pass at the top level of a program, of one group; or None.

  The library is slow where a kernel has at most 16 inputs and 8 outputs, 3 inputs and 17 to 47 outputs, or
  1 or 2 outputs: 7x7, 12 -> 3 channels of the same benchmark takes 12 ms, here 11, most of it the gradients.
  """
  inputs, outputs = w.shape[-2:]
  if outputs <= 2 and 4 * outputs <= inputs:
    return _shifted_after
  by_half = (inputs <= 16 and outputs <= 8) or (inputs == 3 and 16 < outputs < 48)
  return _shifted_by_half if by_half and w.ndim == 4 and window.stride[0] == 1 else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def unlike(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Convolves in the form of `forward_at_top`; the gradients are the library's, which are fast there."""
  form = forward_at_top(window, w)
  assert form is not None, "only for windows that have a form of their own"
  # Barriers: else what comes before or after is fused into every one of the shifts, and computed as often.
  return jax.lax.optimization_barrier(form(window, *jax.lax.optimization_barrier((x, w))))


def _unlike_forward(window: Window, x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple]:
  return unlike(window, x, w), (x, w)


def _unlike_backward(window: Window, kept: tuple, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
  return jax.vjp(functools.partial(native_on_cpu, window), *kept)[1](dy)


unlike.defvjp(_unlike_forward, _unlike_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _depthwise(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """`_shifted` with gradients of its own: in x a sum of slices again, where XLA would add up padded images.

  In w see `vita_jax.nn.depthwise`. It has no forward mode (`jax.jvp`).
  """
  return _shifted(window, x, w)


def _depthwise_forward(window: Window, x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple]:
  return _shifted(window, x, w), (x, w)


def _depthwise_backward(window: Window, kept: tuple, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
  x, w = kept
  back = jnp.swapaxes(w, -1, -2)
  bare = transposed_places(dy, back, window._replace(extra=(0,) * len(window.stride)))
  extra = tuple(n - m for n, m in zip(x.shape[1:-1], bare, strict=True))  # what the stride leaves over
  return sub_pixel(window._replace(extra=extra), dy, back), kernel_gradient(window, x, w, dy)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _shifted(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  x, kernel, outputs, groups = _padded(window, x), w.shape[:-2], w.shape[-1], window.groups
  shifts = [x[place] for place in _places(window, x, kernel)]
  if groups == 1:
    x = jnp.concatenate(shifts, axis=-1) if len(shifts) > 1 else shifts[0]
    return _product(x, w.reshape(-1, outputs))
  if groups == x.shape[-1]:  # the product of a group would be of one number
    weights = w.reshape(len(shifts), groups, outputs // groups)
    terms = (shift[..., None] * weight for shift, weight in zip(shifts, weights, strict=True))
    return functools.reduce(jnp.add, terms).reshape(*shifts[0].shape[:-1], outputs)
  stacked = jnp.stack([shift.reshape(*shift.shape[:-1], groups, -1) for shift in shifts], axis=-2)
  weights = w.reshape(len(shifts), -1, groups, outputs // groups)
  y = jnp.einsum("...gtc,tcgo->...go", stacked, weights)
  return y.reshape(*y.shape[:-2], outputs)


def _product(x: jax.Array, w: jax.Array) -> jax.Array:
  """x [..., i] @ w [i, o], as matrices: XLA's CPU product over several axes, for w's gradient, is slow."""
  return (x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:-1], -1)


def _shifted_after(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Multiplies the image by all taps at once, then adds up the products, each at the places it belongs to."""
  x, kernel, outputs = _padded(window, x), w.shape[:-2], w.shape[-1]
  products = _product(x, jnp.moveaxis(w, -2, 0).reshape(x.shape[-1], -1))
  products = products.reshape(*x.shape[:-1], -1, outputs)
  places = _places(window, x, kernel)
  return functools.reduce(jnp.add, (products[place][..., i, :] for i, place in enumerate(places)))


def _shifted_by_half(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Multiplies images shifted along rows by the kernel's rows at once, then adds up the rows' products."""
  x, outputs = _padded(window, x), w.shape[-1]
  along = window._replace(pads=((0, 0),) * 2)
  columns = [x[:, :, place[2]] for place in _places(along, x, (1, w.shape[1]))]
  matrix = w.transpose(1, 2, 0, 3).reshape(len(columns) * x.shape[-1], -1)
  products = _product(jnp.concatenate(columns, axis=-1), matrix)
  rows = [place[1] for place in _places(along, x, (w.shape[0], 1))]
  return functools.reduce(
    jnp.add, (products[:, row, :, i * outputs : (i + 1) * outputs] for i, row in enumerate(rows))
  )


def _padded(window: Window, x: jax.Array) -> jax.Array:
  return jnp.pad(x, ((0, 0), *window.pads, (0, 0))) if any(map(any, window.pads)) else x


def _places(window: Window, x: jax.Array, kernel: tuple[int, ...]) -> list[tuple[slice, ...]]:
  """Returns for each tap the index of the places of x, padded already, that it is multiplied by."""
  counts = [
    (length - d * (k - 1) - 1) // s + 1
    for length, k, s, d in zip(x.shape[1:-1], kernel, window.stride, window.dilation, strict=True)
  ]
  found = []
  for tap in itertools.product(*map(range, kernel)):
    spans = zip(tap, counts, window.stride, window.dilation, strict=True)
    found.append((slice(None), *(slice(i * d, i * d + (n - 1) * s + 1, s) for i, n, s, d in spans)))
  return found


def native_transposed(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Convolves transposed by the library: an ordinary convolution of x with zeros between its places."""
  spans = kernel_spans(x, w, window.dilation)
  ends = zip(spans, window.pads, window.extra, strict=True)
  return jax.lax.conv_general_dilated(
    x,
    _turned(w, window.groups),
    (1,) * len(spans),
    [(span - 1 - before, span - 1 - after + more) for span, (before, after), more in ends],
    lhs_dilation=window.stride,
    rhs_dilation=window.dilation,
    dimension_numbers=_numbers(x),
    feature_group_count=window.groups,
  )


def sub_pixel(window: Window, x: jax.Array, w: jax.Array) -> jax.Array:
  """Convolves transposed: one ordinary convolution for each residue of the output's places."""
  stride, befores = window.stride, [before for before, _ in window.pads]
  places = transposed_places(x, w, window)
  if any(d > 1 for d in window.dilation):  # holes belong to the kernel: its taps are sorted with them
    w = _with_holes(w, window.dilation)
  # Before anything is cut, output place q gets x[q // stride - m] @ w[q % stride + stride * m]. Place o is
  # q = o + padding, so q // stride runs over `first` to `last`.
  first = [before // s for before, s in zip(befores, stride, strict=True)]
  last = [(before + n - 1) // s for before, n, s in zip(befores, places, stride, strict=True)]
  phases = []
  for residue in itertools.product(*map(range, stride)):
    taps = w[tuple(slice(a, None, s) for a, s in zip(residue, stride, strict=True))]
    phases.append(_phase(x, taps, first, last, window.groups))
  counts = [b - a + 1 for a, b in zip(first, last, strict=True)]
  y = jnp.stack(phases).reshape(*stride, x.shape[0], *counts, -1)
  axes = len(stride)  # [*stride, n, *counts, c] -> [n, count, stride, count, stride, ..., c]
  order = [axes, *itertools.chain(*((axes + 1 + i, i) for i in range(axes))), 2 * axes + 1]
  y = y.transpose(order).reshape(x.shape[0], *(n * s for n, s in zip(counts, stride, strict=True)), -1)
  starts = [before - a * s for before, a, s in zip(befores, first, stride, strict=True)]
  return y[(slice(None), *(slice(a, a + n) for a, n in zip(starts, places, strict=True)))]


def _phase(x: jax.Array, taps: jax.Array, first: list[int], last: list[int], groups: int) -> jax.Array:
  """y[j] = sum over m of x[j - m] @ taps[m], for j from `first` to `last` (of each axis); x is 0 outside."""
  if 0 in taps.shape:  # the stride is longer than the kernel: nothing reaches these places
    counts = [b - a + 1 for a, b in zip(first, last, strict=True)]
    return jnp.zeros_like(x, shape=(x.shape[0], *counts, taps.shape[-1] * groups))
  ranges = list(zip(x.shape[1:-1], taps.shape[:-2], first, last, strict=True))
  x = jax.lax.pad(
    x,
    jnp.zeros_like(x, shape=()),  # negative widths cut
    [(0, 0, 0), *((m - 1 - a, b + 1 - length, 0) for length, m, a, b in ranges), (0, 0, 0)],
  )
  ones = (1,) * len(ranges)
  return shifted(Window(ones, ((0, 0),) * len(ranges), ones, groups), x, _turned(taps, groups))


def _turned(w: jax.Array, groups: int) -> jax.Array:
  """[*kernel, inputs, outputs / groups] -> [*kernel reversed, inputs / groups, outputs]."""
  kernel = w.shape[:-2]
  w = jnp.flip(w, range(len(kernel)))
  if groups == 1:
    return w
  w = w.reshape(*kernel, groups, w.shape[-2] // groups, w.shape[-1])
  return jnp.moveaxis(w, -3, -2).reshape(*kernel, w.shape[-2], -1)


def _with_holes(w: jax.Array, dilation: tuple[int, ...]) -> jax.Array:
  holes = [(0, 0, d - 1) for d in dilation]
  return jax.lax.pad(w, jnp.zeros_like(w, shape=()), [*holes, (0, 0, 0), (0, 0, 0)])


def _numbers(x: jax.Array) -> tuple[str, str, str]:
  axes = "DHW"[5 - x.ndim :]
  return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def kernel_spans(x: jax.Array, w: jax.Array, dilation: tuple[int, ...]) -> tuple[int, ...]:
  """Counts the places that the kernel spans on each axis."""
  if not 3 <= x.ndim <= 5 or w.ndim != x.ndim:
    raise ValueError(f"x is [n, 1 to 3 axes, inputs] and w has as many; they are {x.shape} and {w.shape}")
  return tuple(d * (k - 1) + 1 for k, d in zip(w.shape[:-2], dilation, strict=True))


def transposed_places(x: jax.Array, w: jax.Array, window: Window) -> list[int]:
  """Counts the places that a transposed convolution gives on each axis."""
  spans = kernel_spans(x, w, window.dilation)
  options = zip(x.shape[1:-1], spans, window.stride, window.pads, window.extra, strict=True)
  return [(length - 1) * s - sum(pad) + span + more for length, span, s, pad, more in options]
