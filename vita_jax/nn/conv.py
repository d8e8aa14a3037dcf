"""Convolution and transposed convolution, each in the form that is fast where it runs.

`convolve` and `convolve_transposed` are pure functions; `Conv` and `ConvTranspose` are the linen modules on
top of them. Padding is torch's: explicit numbers, the same at both ends of an axis or a pair, of zeros or (in
`Conv`) reflected; output padding where a transposed convolution needs it.

On GPU and TPU every form is `lax.conv_general_dilated`. XLA's convolutions for the CPU are fast only at the
top level of a program: their gradients are 30 to 40 times slower inside `lax.scan`, `lax.map` and `lax.cond`,
and grouped ones (which is what `vmap` over weights makes) are slow everywhere. So `form` says where the
convolution stands:

  form       on the CPU                                                          elsewhere
  "loop"     products over shifted images; safe anywhere, and the default        lax.conv
  "top"      lax.conv, but shifted images where that is faster at the top, too:  lax.conv
             groups, 1x1, transposed
  "native"   lax.conv                                                            lax.conv
  "shifted"  products over shifted images                                        the same

`form_for` derives it from the settings of a run. All forms give the same numbers up to rounding.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.nn.linear import uniform_fan_in

FORMS = ("loop", "top", "native", "shifted")

# What an option of an axis may be: one number for all axes, or one (for padding: or a pair) per axis.
Sizes = int | Sequence[int]
Padding = int | str | Sequence[int | tuple[int, int]]


def form_for(*, steps_per_call: int, replicas: int | None = None) -> str:
  """Returns the form for a step that a run executes.

  Args:
    steps_per_call: as in the config: 1 = the step is a program of its own.
    replicas: how many seeds run together, by vmap or in a loop; None or 1 = one.
  """
  return "top" if steps_per_call == 1 and (replicas or 1) == 1 else "loop"


def convolve(
  x: jax.Array,
  w: jax.Array,
  *,
  stride: Sizes = 1,
  padding: Padding = 0,
  dilation: Sizes = 1,
  groups: int = 1,
  form: str = "loop",
) -> jax.Array:
  """Convolves (as deep learning says it: correlates) images, or arrays of any number of spatial axes.

  Args:
    x: [n, *spatial, inputs].
    w: [*kernel, inputs / groups, outputs], of x's dtype. Depthwise is groups = inputs.
    stride, dilation: of all axes or of each.
    padding: zeros at both ends: a number, one per axis, or a pair (before, after) per axis; "VALID": none;
      "SAME": so many that the output has ceil(length / stride) places, the odd one after.
    groups: the channels are convolved in so many separate groups.
    form: see the module.

  Returns:
    [n, *places, outputs], places = (length + padding - dilation * (kernel - 1) - 1) // stride + 1.

  Raises:
    ValueError: shapes that do not fit together, negative padding, or a kernel larger than the padded image.
  """
  axes = x.ndim - 2
  stride, dilation = _per_axis("stride", stride, axes), _per_axis("dilation", dilation, axes)
  spans = _spans(x, w, dilation)
  pads = _pads(padding, x.shape[1:-1], spans, stride)
  _check_channels(x, w.shape[-2] * groups, w.shape[-1], groups)
  for length, pad, span in zip(x.shape[1:-1], pads, spans, strict=True):
    if length + sum(pad) < span:
      raise ValueError(f"a kernel that spans {span} is larger than the padded image, {length} + {sum(pad)}")
  options = dict(stride=stride, pads=pads, dilation=dilation, groups=groups)
  shifted = functools.partial(_shifted, **options)
  native = functools.partial(_native, **options)
  plain = groups == 1 and math.prod(w.shape[:-2]) > 1
  return _in_form(form, x, w, shifted=shifted, native=native, native_at_top=plain)


def convolve_transposed(
  x: jax.Array,
  w: jax.Array,
  *,
  stride: Sizes = 1,
  padding: Padding = 0,
  output_padding: Sizes = 0,
  dilation: Sizes = 1,
  groups: int = 1,
  form: str = "loop",
) -> jax.Array:
  """Transposed convolution: y[i * stride - padding + k * dilation] += x[i] @ w[k], as torch has it.

  On the CPU every residue of the output modulo the stride is an ordinary convolution by the taps of the
  kernel that reach it (3x3, stride 2: four of 1 to 4 taps), so that no inserted zero is multiplied.

  Args:
    x: [n, *spatial, inputs].
    w: [*kernel, inputs, outputs / groups], of x's dtype. Of torch's weight it is `transpose(2, 3, 0, 1)`.
    stride, dilation, groups, form: as in `convolve`.
    padding: as in `convolve`, but no text: so many places are cut from both ends of the output.
    output_padding: places added at the end of the output, fewer than the stride or the dilation.

  Returns:
    [n, *places, outputs], places = (length - 1) * stride - padding + dilation * (kernel - 1) + output_padding
    + 1.

  Raises:
    ValueError: shapes that do not fit together, negative padding, too much output padding, or no output.
  """
  axes = x.ndim - 2
  stride, dilation = _per_axis("stride", stride, axes), _per_axis("dilation", dilation, axes)
  extra = _per_axis("output_padding", output_padding, axes, least=0)
  if isinstance(padding, str):
    raise ValueError(f"padding is '{padding}': a transposed convolution takes numbers")
  spans = _spans(x, w, dilation)
  pads = _pads(padding, x.shape[1:-1], spans, stride)
  _check_channels(x, w.shape[-2], w.shape[-1] * groups, groups)
  for more, s, d in zip(extra, stride, dilation, strict=True):
    if more >= max(s, d):
      raise ValueError(f"output_padding is {more}: it must be below the stride {s} or the dilation {d}")
  options = dict(stride=stride, pads=pads, dilation=dilation, groups=groups, extra=extra)
  if min(_transposed_places(x, spans, stride, pads, extra)) < 1:
    raise ValueError(f"padding {padding} cuts the whole output away")
  shifted = functools.partial(_sub_pixel, **options)
  native = functools.partial(_native_transposed, **options)
  return _in_form(form, x, w, shifted=shifted, native=native, native_at_top=False)


class Conv(nn.Module):
  """Convolution with bias: x [n, *spatial, inputs] -> [n, *places, features]; see `convolve`.

  Parameters, float32: `kernel` [*kernel, inputs / groups, features], `bias` [features]; drawn as torch draws
  them, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), unless initializers are given.

  Attributes:
    features: outputs.
    kernel_size, stride, padding, dilation, groups, form: as in `convolve`; a number is for all axes.
    padding_mode: "zeros", or "reflect": the image mirrored at its border places.
    use_bias: whether there is one.
    dtype: the type computed in; None: x's.
  """

  features: int
  kernel_size: Sizes
  stride: Sizes = 1
  padding: Padding = 0
  dilation: Sizes = 1
  groups: int = 1
  padding_mode: str = "zeros"
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable[..., jax.Array] | None = None
  bias_init: Callable[..., jax.Array] | None = None
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    choose("padding_mode", self.padding_mode, ("zeros", "reflect"))
    size = _per_axis("kernel_size", self.kernel_size, x.ndim - 2)
    _check_channels(x, x.shape[-1], self.features, self.groups)
    inputs = x.shape[-1] // self.groups
    draw = uniform_fan_in(inputs * math.prod(size))
    w = self.param("kernel", self.kernel_init or draw, (*size, inputs, self.features))
    x = x.astype(self.dtype or x.dtype)
    padding = self.padding
    if self.padding_mode == "reflect":
      x, padding = reflect(x, padding), 0
    y = convolve(
      x,
      w.astype(x.dtype),
      stride=self.stride,
      padding=padding,
      dilation=self.dilation,
      groups=self.groups,
      form=self.form,
    )
    return _biased(self, y, draw)


class ConvTranspose(nn.Module):
  """Transposed convolution with bias: x [n, *spatial, inputs] -> [n, *places, features].

  Parameters, float32: `kernel` [*kernel, inputs, features / groups], `bias` [features]. Drawn as torch draws
  them: U(-b, b), b = 1/sqrt(features / groups * places of the kernel).

  Attributes:
    features, kernel_size, stride, padding, output_padding, dilation, groups, form: as in
      `convolve_transposed`; a number is for all axes.
    use_bias, dtype, kernel_init, bias_init: as in `Conv`.
  """

  features: int
  kernel_size: Sizes
  stride: Sizes = 1
  padding: Padding = 0
  output_padding: Sizes = 0
  dilation: Sizes = 1
  groups: int = 1
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable[..., jax.Array] | None = None
  bias_init: Callable[..., jax.Array] | None = None
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    size = _per_axis("kernel_size", self.kernel_size, x.ndim - 2)
    _check_channels(x, x.shape[-1], self.features, self.groups)
    outputs = self.features // self.groups
    draw = uniform_fan_in(outputs * math.prod(size))
    w = self.param("kernel", self.kernel_init or draw, (*size, x.shape[-1], outputs))
    x = x.astype(self.dtype or x.dtype)
    y = convolve_transposed(
      x,
      w.astype(x.dtype),
      stride=self.stride,
      padding=self.padding,
      output_padding=self.output_padding,
      dilation=self.dilation,
      groups=self.groups,
      form=self.form,
    )
    return _biased(self, y, draw)


def reflect(x: jax.Array, padding: Padding) -> jax.Array:
  """Pads the spatial axes of x [n, *spatial, c] by mirroring at its border places: a b c -> c b a b c b a.

  Raises:
    ValueError: padding as long as an axis, or given as text.
  """
  if isinstance(padding, str):
    raise ValueError(f"padding is '{padding}': reflected padding takes numbers")
  lengths = x.shape[1:-1]
  pads = _pads(padding, lengths, (1,) * len(lengths), (1,) * len(lengths))
  for length, pad in zip(lengths, pads, strict=True):
    if max(pad) >= length:
      raise ValueError(f"reflected padding of {max(pad)} needs an image of more than {length} places")
  return jnp.pad(x, ((0, 0), *pads, (0, 0)), mode="reflect")


def conv2d(x: jax.Array, w: jax.Array, *, stride: int = 1, padding: Padding = "VALID") -> jax.Array:
  """`convolve` of images, x [n, h, w, inputs] with w [k, k, inputs, outputs], in the form "loop"."""
  return convolve(x, w, stride=stride, padding=padding)


def max_pool(x: jax.Array, size: int) -> jax.Array:
  """Maxima over windows [size, size] without overlap: [n, height, width, c]; what is left over is dropped."""
  n, height, width, channels = x.shape
  height, width = height // size, width // size
  x = x[:, : height * size, : width * size]
  return jnp.max(x.reshape(n, height, size, width, size, channels), axis=(2, 4))


def average_pool_same(x: jax.Array, size: int) -> jax.Array:
  """Means over windows [size, size], stride 1: [n, h, w, c] -> the same; padding is not counted."""
  window, strides = (1, size, size, 1), (1, 1, 1, 1)

  def total(x: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, "SAME")

  return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))


def batch_norm(x: jax.Array, scale: jax.Array, offset: jax.Array, *, epsilon: float = 1e-3) -> jax.Array:
  """Normalises every channel by the batch's own mean and variance: x [..., c], scale and offset [c]."""
  axes = range(x.ndim - 1)
  mean, variance = jnp.mean(x, axis=axes), jnp.var(x, axis=axes)
  return (x - mean) * (scale * jax.lax.rsqrt(variance + epsilon)) + offset


def _in_form(form, x, w, *, shifted, native, native_at_top):
  choose("form", form, FORMS)
  if form == "native" or (form == "top" and native_at_top):
    return native(x, w)
  if form == "shifted":
    return shifted(x, w)
  return jax.lax.platform_dependent(x, w, cpu=shifted, default=native)


def _native(x, w, *, stride, pads, dilation, groups):
  return jax.lax.conv_general_dilated(
    x,
    w,
    stride,
    pads,
    rhs_dilation=dilation,
    dimension_numbers=_numbers(x),
    feature_group_count=groups,
  )


def _shifted(x, w, *, stride, pads, dilation, groups):
  """The convolution as one product over shifted images; depthwise: as their weighted sum."""
  if any(map(any, pads)):
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  kernel, outputs = w.shape[:-2], w.shape[-1]
  places = [
    (length - d * (k - 1) - 1) // s + 1
    for length, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)
  ]
  shifts = []
  for tap in itertools.product(*map(range, kernel)):
    spans = zip(tap, places, stride, dilation, strict=True)
    shifts.append(x[(slice(None), *(slice(i * d, i * d + (n - 1) * s + 1, s) for i, n, s, d in spans))])
  if groups == 1:
    return (jnp.concatenate(shifts, axis=-1) if len(shifts) > 1 else shifts[0]) @ w.reshape(-1, outputs)
  if groups == x.shape[-1]:  # the product of a group would be of one number
    weights = w.reshape(len(shifts), groups, outputs // groups)
    terms = (shift[..., None] * weight for shift, weight in zip(shifts, weights, strict=True))
    return functools.reduce(jnp.add, terms).reshape(*shifts[0].shape[:-1], outputs)
  stacked = jnp.stack([shift.reshape(*shift.shape[:-1], groups, -1) for shift in shifts], axis=-2)
  weights = w.reshape(len(shifts), -1, groups, outputs // groups)
  y = jnp.einsum("...gtc,tcgo->...go", stacked, weights)
  return y.reshape(*y.shape[:-2], outputs)


def _native_transposed(x, w, *, stride, pads, dilation, groups, extra):
  spans = _spans(x, w, dilation)
  ends = zip(spans, pads, extra, strict=True)
  return jax.lax.conv_general_dilated(
    x,
    _turned(w, groups),
    (1,) * len(spans),
    [(span - 1 - before, span - 1 - after + more) for span, (before, after), more in ends],
    lhs_dilation=stride,
    rhs_dilation=dilation,
    dimension_numbers=_numbers(x),
    feature_group_count=groups,
  )


def _sub_pixel(x, w, *, stride, pads, dilation, groups, extra):
  """The transposed convolution, one ordinary one for each residue of the output's places."""
  spans = _spans(x, w, dilation)
  places = _transposed_places(x, spans, stride, pads, extra)
  if any(d > 1 for d in dilation):  # holes belong to the kernel: its taps are sorted as those of a larger one
    w, dilation = _with_holes(w, dilation), (1,) * len(spans)
  # Before anything is cut, output place q gets x[q // stride - m] @ w[q % stride + stride * m]. Place o is
  # q = o + padding, so q // stride runs over `first` to `last`.
  first = [before // s for (before, _), s in zip(pads, stride, strict=True)]
  last = [(before + n - 1) // s for (before, _), n, s in zip(pads, places, stride, strict=True)]
  phases = []
  for residue in itertools.product(*map(range, stride)):
    taps = w[tuple(slice(a, None, s) for a, s in zip(residue, stride, strict=True))]
    phases.append(_phase(x, taps, first, last, groups))
  counts = [b - a + 1 for a, b in zip(first, last, strict=True)]
  y = jnp.stack(phases).reshape(*stride, x.shape[0], *counts, -1)
  axes = len(stride)  # [*stride, n, *counts, c] -> [n, count, stride, count, stride, ..., c]
  order = [axes, *itertools.chain(*((axes + 1 + i, i) for i in range(axes))), 2 * axes + 1]
  y = y.transpose(order).reshape(x.shape[0], *(n * s for n, s in zip(counts, stride, strict=True)), -1)
  starts = [before - a * s for (before, _), a, s in zip(pads, first, stride, strict=True)]
  return y[(slice(None), *(slice(a, a + n) for a, n in zip(starts, places, strict=True)))]


def _phase(x, taps, first, last, groups):
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
  axes = (1,) * len(ranges)
  none = ((0, 0),) * len(ranges)
  return _shifted(x, _turned(taps, groups), stride=axes, pads=none, dilation=axes, groups=groups)


def _turned(w, groups):
  """[*kernel, inputs, outputs / groups] -> [*kernel reversed, inputs / groups, outputs]."""
  kernel = w.shape[:-2]
  w = jnp.flip(w, range(len(kernel)))
  if groups == 1:
    return w
  w = w.reshape(*kernel, groups, w.shape[-2] // groups, w.shape[-1])
  return jnp.moveaxis(w, -3, -2).reshape(*kernel, w.shape[-2], -1)


def _with_holes(w, dilation):
  holes = [(0, 0, d - 1) for d in dilation]
  return jax.lax.pad(w, jnp.zeros_like(w, shape=()), [*holes, (0, 0, 0), (0, 0, 0)])


def _numbers(x):
  axes = "DHW"[5 - x.ndim :]
  return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def _spans(x, w, dilation):
  """How many places the kernel spans on each axis."""
  if not 3 <= x.ndim <= 5 or w.ndim != x.ndim:
    raise ValueError(f"x is [n, 1 to 3 axes, inputs] and w has as many; they are {x.shape} and {w.shape}")
  return tuple(d * (k - 1) + 1 for k, d in zip(w.shape[:-2], dilation, strict=True))


def _transposed_places(x, spans, stride, pads, extra):
  options = zip(x.shape[1:-1], spans, stride, pads, extra, strict=True)
  return [(length - 1) * s - sum(pad) + span + more for length, span, s, pad, more in options]


def _per_axis(name, value, axes, *, least=1):
  values = (value,) * axes if isinstance(value, int) else tuple(value)
  if len(values) != axes or not all(isinstance(v, int) and v >= least for v in values):
    raise ValueError(f"{name} is {value}: it must be a whole number from {least} on, or {axes} of them")
  return values


def _pads(padding, lengths, spans, stride):
  """((before, after), ...) for each axis."""
  if isinstance(padding, str):
    choose("padding", padding, ("VALID", "SAME"))
    if padding == "VALID":
      return ((0, 0),) * len(lengths)
    totals = [
      max((-(-n // s) - 1) * s + span - n, 0) for n, span, s in zip(lengths, spans, stride, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)
  values = (padding,) * len(lengths) if isinstance(padding, int) else tuple(padding)
  pads = tuple((v, v) if isinstance(v, int) else tuple(v) for v in values)
  if len(pads) != len(lengths) or not all(len(p) == 2 and min(p) >= 0 for p in pads):
    raise ValueError(
      f"padding is {padding}: it must be a number from 0 on, or {len(lengths)} of them or of pairs"
    )
  return pads


def _check_channels(x, inputs, outputs, groups):
  if x.shape[-1] != inputs:
    raise ValueError(f"x has {x.shape[-1]} channels, and the kernel is for {inputs}")
  if groups < 1 or inputs % groups or outputs % groups:
    raise ValueError(f"{inputs} inputs and {outputs} outputs cannot be split into {groups} groups")


def _biased(module, y, draw):
  if not module.use_bias:
    return y
  bias = module.param("bias", module.bias_init or draw, (module.features,))
  return y + bias.astype(y.dtype)
