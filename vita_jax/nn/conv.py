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
               groups, 1x1, transposed, few channels
    "native"   lax.conv                                                            lax.conv
    "shifted"  products over shifted images                                        the same

`form_for` derives it from the settings of a run. All forms give the same numbers up to rounding. Depthwise
convolutions over shifted images have a gradient of their own, and so no forward mode (`jax.jvp`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose
from vita_jax.nn import conv_forms as forms
from vita_jax.nn.conv_forms import Pads
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
    stride: of all axes or of each.
    dilation: of all axes or of each.
    padding: zeros at both ends: a number, one per axis, or a pair (before, after) per axis; "VALID": none;
      "SAME": so many that the output has ceil(length / stride) places, the odd one after.
    groups: the channels are convolved in so many separate groups.
    form: see the module.

  Returns:
    [n, *places, outputs], places = (length + padding - dilation * (kernel - 1) - 1) // stride + 1.

  Raises:
    ValueError: shapes that do not fit together, negative padding, or a kernel larger than the padded image.
  """
  window = _window(x, w, stride, padding, dilation, groups)
  _check_channels(x, w.shape[-2] * groups, w.shape[-1], groups)
  spans = forms.kernel_spans(x, w, window.dilation)
  for length, pad, span in zip(x.shape[1:-1], window.pads, spans, strict=True):
    if length + sum(pad) < span:
      raise ValueError(f"a kernel that spans {span} is larger than the padded image, {length} + {sum(pad)}")
  return _in_form(form, x, w, window, loop=forms.shifted, top=_form_at_top(window, w), native=forms.native)


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
  """Convolves transposed: y[i * stride - padding + k * dilation] += x[i] @ w[k], as torch has it.

  On the CPU every residue of the output modulo the stride is an ordinary convolution by the taps of the
  kernel that reach it (3x3, stride 2: four of 1 to 4 taps), so that no inserted zero is multiplied.

  Args:
    x: [n, *spatial, inputs].
    w: [*kernel, inputs, outputs / groups], of x's dtype. Of torch's weight it is `transpose(2, 3, 0, 1)`.
    stride: as in `convolve`.
    dilation: as in `convolve`.
    groups: as in `convolve`.
    form: as in `convolve`.
    padding: as in `convolve`, but no text: so many places are cut from both ends of the output.
    output_padding: places added at the end of the output, fewer than the stride or the dilation.

  Returns:
    [n, *places, outputs], places = (length - 1) * stride - padding + dilation * (kernel - 1) + output_padding
    + 1.

  Raises:
    ValueError: shapes that do not fit together, negative padding, too much output padding, or no output.
  """
  if isinstance(padding, str):
    raise ValueError(f"padding is '{padding}': a transposed convolution takes numbers")
  extra = _per_axis("output_padding", output_padding, x.ndim - 2, least=0)
  window = _window(x, w, stride, padding, dilation, groups)._replace(extra=extra)
  _check_channels(x, w.shape[-2], w.shape[-1] * groups, groups)
  for more, s, d in zip(extra, window.stride, window.dilation, strict=True):
    if more >= max(s, d):
      raise ValueError(f"output_padding is {more}: it must be below the stride {s} or the dilation {d}")
  if any(n < 1 for n in forms.transposed_places(x, w, window)):  # not min(): lengths may be symbols
    raise ValueError(f"padding {padding} cuts the whole output away")
  loop, native = forms.sub_pixel, forms.native_transposed
  return _in_form(form, x, w, window, loop=loop, top=loop, native=native)


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


def _form_at_top(window: forms.Window, w: jax.Array) -> forms.Form:
  """The CPU's form at the top level of a program."""
  if window.groups > 1 or math.prod(w.shape[:-2]) == 1:
    return forms.shifted
  return forms.unlike if forms.forward_at_top(window, w) else forms.native_on_cpu


def _in_form(
  form: str,
  x: jax.Array,
  w: jax.Array,
  window: forms.Window,
  *,
  loop: forms.Form,
  top: forms.Form,
  native: forms.Form,
) -> jax.Array:
  """`loop` and `top` are the CPU's forms by those names."""
  choose("form", form, FORMS)
  if form == "native":
    return native(window, x, w)
  if form == "shifted":
    return loop(window, x, w)
  cpu, default = (functools.partial(f, window) for f in (top if form == "top" else loop, native))
  return jax.lax.platform_dependent(x, w, cpu=cpu, default=default)


def _window(
  x: jax.Array, w: jax.Array, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> forms.Window:
  axes = x.ndim - 2
  strides, dilations = _per_axis("stride", stride, axes), _per_axis("dilation", dilation, axes)
  pads = _pads(padding, x.shape[1:-1], forms.kernel_spans(x, w, dilations), strides)
  return forms.Window(strides, pads, dilations, groups)


def _per_axis(name: str, value: Sizes, axes: int, *, least: int = 1) -> tuple[int, ...]:
  values = (value,) * axes if isinstance(value, int) else tuple(value)
  if len(values) != axes or not all(isinstance(v, int) and v >= least for v in values):
    raise ValueError(f"{name} is {value}: it must be a whole number from {least} on, or {axes} of them")
  return values


def _pads(padding: Padding, lengths: Sequence[int], spans: Sequence[int], stride: Sequence[int]) -> Pads:
  """((before, after), ...) for each axis."""
  if isinstance(padding, str):
    choose("padding", padding, ("VALID", "SAME"))
    if padding == "VALID":
      return ((0, 0),) * len(lengths)
    axes = zip(lengths, spans, stride, strict=True)
    totals = [max((-(-n // s) - 1) * s + span - n, 0) for n, span, s in axes]
    return tuple((total // 2, total - total // 2) for total in totals)
  values = (padding,) * len(lengths) if isinstance(padding, int) else tuple(padding)
  pads = tuple((v, v) if isinstance(v, int) else tuple(v) for v in values)
  if len(pads) != len(lengths) or not all(len(p) == 2 and min(p) >= 0 for p in pads):
    raise ValueError(
      f"padding is {padding}: it must be a number from 0 on, or {len(lengths)} of them or of pairs"
    )
  return tuple((before, after) for before, after in pads)


def _check_channels(x: jax.Array, inputs: int, outputs: int, groups: int) -> None:
  if x.shape[-1] != inputs:
    raise ValueError(f"x has {x.shape[-1]} channels, and the kernel is for {inputs}")
  if groups < 1 or inputs % groups or outputs % groups:
    raise ValueError(f"{inputs} inputs and {outputs} outputs cannot be split into {groups} groups")


def _biased(module: Conv | ConvTranspose, y: jax.Array, draw: Callable[..., jax.Array]) -> jax.Array:
  if not module.use_bias:
    return y
  bias = module.param("bias", module.bias_init or draw, (module.features,))
  return y + bias.astype(y.dtype)


FEW = 2  # rows or columns of an image, at which the library is slow on the CPU


def form_at(form: str, height: int, width: int) -> str:
  """Returns the form for images of few places: "top" becomes "loop" where the output is at most 2 x 2.

  The library takes ten times as long there: of 24 images of 2 x 2 with 128 channels, 3x3, 4.0 ms forward and
  4.0 ms for the gradient of the images, here 0.4 and 0.1.

  Examples:
    >>> form_at("top", 2, 2), form_at("top", 4, 4), form_at("native", 2, 2)
    ('loop', 'top', 'native')
  """
  return "loop" if form == "top" and max(height, width) <= FEW else form
