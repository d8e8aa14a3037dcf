"""Layers give torch's values and gradients, in every form; layers.npz holds what torch gave."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.conv import Conv, ConvTranspose
from vita_jax.nn.norm import BatchNorm, InstanceNorm
from vita_jax.nn.resize import resize
from vita_jax.nn.rnn import LSTMCell

FILE = Path(__file__).parent / "fixtures" / "layers.npz"


def _read():
  with np.load(FILE, allow_pickle=False) as file:
    arrays = {name: file[name] for name in file.files}
  for i, text in enumerate(arrays.pop("cases")):
    kind, options = str(text).split(" ", 1)
    prefix = f"{i}/"
    found = {n.removeprefix(prefix): x for n, x in arrays.items() if n.startswith(prefix)}
    yield pytest.param(kind, json.loads(options), found, id=f"{kind}-{i}")


CASES = list(_read())


def last(x):
  """[n, c, ...] -> [n, ..., c]."""
  return jnp.moveaxis(x, 1, -1)


def first(x):
  return jnp.moveaxis(x, -1, 1)


def kernel(w):
  """torch's [a, b, *kernel] -> [*kernel, b, a]; of a transposed convolution [*kernel, a, b]."""
  return jnp.moveaxis(w, (0, 1), (-1, -2))


def _conv(options, form, x, w, b):
  options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
  mode = options.pop("mode", "zeros")
  layer = Conv(w.shape[0], w.shape[2:], padding_mode=mode, form=form, **options)
  return {"y": first(layer.apply({"params": {"kernel": kernel(w), "bias": b}}, last(x)))}


def _conv_transpose(options, form, x, w, b):
  options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
  layer = ConvTranspose(len(b), w.shape[2:], form=form, **options)
  weights = {"kernel": jnp.moveaxis(w, (0, 1), (-2, -1)), "bias": b}
  return {"y": first(layer.apply({"params": weights}, last(x)))}


def _resize(options, x):
  return {"y": first(resize(last(x), tuple(options.pop("size")), **options))}


def _instance_norm(options, x, w, b):
  return {"y": first(InstanceNorm(affine=True).apply({"params": {"scale": w, "bias": b}}, last(x)))}


def _batch_norm(options, x, w, b):
  stats = {"mean": jnp.full(4, 0.5), "var": jnp.full(4, 2.0)}
  variables = {"params": {"scale": w, "bias": b}, "batch_stats": stats}
  y, new = BatchNorm().apply(variables, last(x), mutable=["batch_stats"], **options)
  return {"y": first(y), "y_mean": new["batch_stats"]["mean"], "y_var": new["batch_stats"]["var"]}


def _lstm(options, x, w, u, b, h, c):
  params = {"input_kernel": w.T, "hidden_kernel": u.T, "bias": b}
  (hidden, cell), y = LSTMCell(4).apply({"params": params}, (h, c), x)
  return {"y": y + cell, "y_h": hidden, "y_c": cell}


def _compare(function, case):
  """function(**inputs) -> outputs; compares these, and the gradients of sum(y * cotangent)."""
  inputs = {n: jnp.asarray(x) for n, x in case.items() if f"d{n}" in case}

  def total(inputs):
    outputs = function(**inputs)
    y = outputs["y"]
    return jnp.sum(y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)), outputs

  gradients, outputs = jax.jit(
    jax.grad(total, has_aux=True), compiler_options={"xla_backend_optimization_level": 0}
  )(inputs)
  for name, x in {**outputs, **{f"d{n}": x for n, x in gradients.items()}}.items():
    assert x.shape == case[name].shape, name
    np.testing.assert_allclose(x, case[name], rtol=2e-4, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(("kind", "options", "case"), CASES)
def test_torch_agrees_in_values_and_gradients(kind, options, case):
  if kind.startswith("conv"):
    apply = {"conv": _conv, "conv_transpose": _conv_transpose}[kind]
    for form in ("native", "shifted"):  # the others are one of the two on any one machine
      _compare(lambda form=form, **x: apply(options, form, **x), case)
  else:
    apply = {"resize": _resize, "instance_norm": _instance_norm, "batch_norm": _batch_norm, "lstm": _lstm}[
      kind
    ]
    _compare(lambda **x: apply(dict(options), **x), case)
