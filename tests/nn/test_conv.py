"""All forms of a convolution agree wherever they stand; what does not fit is refused.

Values and gradients beside torch's are in test_layers_parity.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from vita_jax.nn.conv import Conv, ConvTranspose, convolve, convolve_transposed, form_for, reflect

X = np.random.default_rng(0).normal(size=(2, 11, 10, 3)).astype(np.float32)
W = np.random.default_rng(1).normal(0, 0.2, (3, 3, 3, 4)).astype(np.float32)


def _loss(w, x, form):
  y = convolve(x, w, stride=2, padding="SAME", form=form)
  z = convolve_transposed(y, jnp.swapaxes(w, 2, 3), stride=2, padding=1, output_padding=1, form=form)
  depthwise = convolve(z, w[..., :1, :3], padding=1, groups=3, form=form)
  return jnp.sum(jnp.sin(depthwise))


@pytest.mark.parametrize("form", ("loop", "top"))
def test_forms_agree_at_the_top_in_a_scan_and_under_vmap(form):
  ws = jnp.stack([W, 2 * W])
  gradient = jax.grad(_loss)

  def step(carry, w):
    return carry, gradient(w, X, form)

  @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
  def every(ws):
    single = jnp.stack([gradient(w, X, "native") for w in ws])
    one_by_one = jnp.stack([gradient(w, X, form) for w in ws])
    return single, (one_by_one, jax.lax.scan(step, 0, ws)[1], jax.vmap(lambda w: gradient(w, X, form))(ws))

  expected, found = every(ws)
  for ours in found:
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-3)


def _text(form, platform):
  function = jax.jit(jax.grad(lambda w, x: _loss(w, x, form)))
  return export.export(function, platforms=[platform])(W, X).mlir_module()


def test_loops_on_the_cpu_have_no_library_convolution_and_gpus_and_tpus_have_nothing_else():
  assert "stablehlo.convolution" not in _text("loop", "cpu")
  for form in ("loop", "top"):
    for platform in ("cuda", "tpu"):
      text = _text(form, platform)
      assert text.count("stablehlo.convolution") == 8  # 3 forward, 5 backward: of x no gradient is asked
      assert "stablehlo.dot_general" not in text
  assert 1 <= _text("top", "cpu").count("stablehlo.convolution") <= 3  # neither depthwise nor transposed
  assert "stablehlo.convolution" not in _text("shifted", "cuda")


@pytest.mark.parametrize(
  ("kernel", "options"),
  [
    ((7, 7, 8, 2), {}),
    ((7, 7, 2, 8), {"padding": 3}),
    ((5, 3, 2, 8), {"stride": (1, 2), "dilation": (2, 1), "padding": 2}),
    ((3, 3, 8, 2), {"stride": 2, "dilation": 2, "padding": ((1, 0), (2, 1))}),
    ((3, 2, 2, 8, 1), {"padding": 1}),
    ((3, 3, 12, 8), {"padding": 1}),
    ((5, 5, 3, 24), {}),
  ],
)
def test_few_outputs_and_few_inputs_have_forms_of_their_own_that_agree(kernel, options):
  assert "stablehlo.convolution" not in _agreed(kernel, options)


def test_the_library_is_given_a_row_of_padding_on_the_cpu_where_there_is_none():
  kernel = (5, 3, 20, 24)
  padded = "pad = [[1, 0], [0, 0]]"
  assert padded in _agreed(kernel, {}) and padded in _agreed(kernel, {"dilation": (1, 2)})
  assert padded not in _agreed(kernel, {"padding": 1}) and padded not in _agreed(kernel, {"stride": 2})


def _agreed(kernel, options):
  """Checks values and gradients of every form; returns the program of form "top" for the CPU."""
  rng = np.random.default_rng(0)
  w = rng.normal(size=kernel).astype(np.float32)
  x = rng.normal(size=(2, *(13, 12, 7)[: w.ndim - 2], w.shape[-2])).astype(np.float32)

  def value_and_gradients(form):
    def loss(x, w):
      return jnp.sum(jnp.sin(convolve(x, w, form=form, **options)))

    return jax.tree.leaves((convolve(x, w, form=form, **options), jax.grad(loss, argnums=(0, 1))(x, w)))

  for form in ("top", "loop", "shifted"):
    for found, expected in zip(value_and_gradients(form), value_and_gradients("native"), strict=True):
      np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
  text = export.export(jax.jit(functools.partial(convolve, form="top", **options)), platforms=["cpu"])(x, w)
  return text.mlir_module()


def test_the_settings_of_a_run_give_the_form():
  assert form_for(steps_per_call=1) == "top" == form_for(steps_per_call=1, replicas=1)
  assert form_for(steps_per_call=0) == "loop" == form_for(steps_per_call=1, replicas=4)


def test_modules_have_torchs_shapes_and_bounds():
  tree = jax.eval_shape(Conv(6, 3, groups=3).init, jax.random.key(0), X)["params"]
  assert {name: x.shape for name, x in tree.items()} == {"kernel": (3, 3, 1, 6), "bias": (6,)}
  params = ConvTranspose(6, (4, 2), stride=2).init(jax.random.key(0), X)["params"]
  assert params["kernel"].shape == (4, 2, 3, 6) and params["kernel"].dtype == jnp.float32
  assert 0.9 / 48**0.5 < jnp.abs(params["kernel"]).max() <= 1 / 48**0.5
  half = Conv(4, 3, dtype=jnp.bfloat16, use_bias=False)
  variables = half.init(jax.random.key(0), X)
  assert half.apply(variables, X).dtype == jnp.bfloat16 and list(variables["params"]) == ["kernel"]


def test_reflect_mirrors_at_the_border_places():
  row = jnp.arange(3.0).reshape(1, 3, 1)
  np.testing.assert_array_equal(reflect(row, 2)[0, :, 0], [2, 1, 0, 1, 2, 1, 0])
  np.testing.assert_array_equal(reflect(row, [(0, 1)])[0, :, 0], [0, 1, 2, 1])
  with pytest.raises(ValueError, match="more than 3 places"):
    reflect(row, 3)


@pytest.mark.parametrize(
  ("function", "options", "message"),
  [
    (convolve, {"padding": "valid"}, "did you mean 'VALID'"),
    (convolve, {"padding": -1}, "padding is -1"),
    (convolve, {"padding": (1, 2, 3)}, "2 of them or of pairs"),
    (convolve, {"stride": 0}, "stride is 0"),
    (convolve, {"dilation": 6}, "larger than the padded image"),
    (convolve, {"groups": 2}, "x has 3 channels, and the kernel is for 6"),
    (convolve, {"form": "fast"}, "unknown form 'fast'"),
    (convolve_transposed, {"padding": "SAME"}, "takes numbers"),
    (convolve_transposed, {"output_padding": 1}, "below the stride 1 or the dilation 1"),
    (convolve_transposed, {"groups": 2}, "3 inputs and 8 outputs cannot be split"),
    (convolve_transposed, {"padding": 6}, "cuts the whole output away"),
  ],
)
def test_what_does_not_fit_is_refused_in_one_line(function, options, message):
  with pytest.raises(ValueError, match=message) as error:
    function(X, W, **options)
  assert "\n" not in str(error.value)
  with pytest.raises(ValueError, match="1 to 3 axes"):
    function(X[0, 0], W)


@pytest.mark.parametrize(
  ("length", "options"),
  [
    ((8, 7), {"stride": 2, "padding": "SAME"}),
    ((8, 7), {"stride": (3, 2), "padding": ((1, 0), (0, 2))}),
    ((9, 8), {"stride": 2, "padding": 2, "dilation": 2}),
    ((7, 6), {"padding": 1}),
  ],
)
def test_the_gradients_of_depthwise_convolutions_are_those_of_the_library(length, options):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(2, *length, 4)), jnp.float32)
  w = jnp.asarray(rng.normal(size=(3, 3, 1, 4)), jnp.float32)

  def loss(form, x, w):
    y = convolve(x, w, groups=4, form=form, **options)
    return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape) + 0.1 * y**2)

  def slope(form, x, w):  # of the gradient's size: reverse over reverse
    return sum(jnp.sum(g**2) for g in jax.grad(loss, (1, 2))(form, x, w))

  for f in (loss, slope):
    got, expected = (
      jax.jit(jax.grad(f, (1, 2)), static_argnums=0)(form, x, w) for form in ("shifted", "native")
    )
    for a, b in zip(got, expected, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(b).max()))
