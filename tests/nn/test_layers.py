"""Tables of layers: what makes no sense is refused by name, and quantised sums are exact in every type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.layers import ConvLayer, Layer, check_layers, check_parameters, run, shapes
from vita_jax.nn.quantize import Quant

A, B = Layer("a", 3, 3, 1), Layer("b", 3, 3, 1, norm="affine", add="a", clipped=True)


def test_quantised_sums_of_bfloat16_are_those_of_float32():
  x = jnp.asarray(np.random.default_rng(0).uniform(0, 4, (1, 6, 6, 32)), jnp.bfloat16)
  layer = ConvLayer(Layer("a", 32, 8, 3, 1, 1, signed=False), Quant(), form="native")
  params = layer.init(jax.random.key(0), x)
  wanted = layer.apply(params, x.astype(jnp.float32))
  found = layer.apply(params, x)
  assert found.dtype == jnp.bfloat16 and wanted.dtype == jnp.float32
  np.testing.assert_array_equal(found, wanted.astype(jnp.bfloat16))  # rounded once, at the end


@pytest.mark.parametrize(
  ("layers", "message"),
  [
    ((A, B._replace(norm="batch")), "unknown norm 'batch'"),
    ((A, B._replace(activation="gelu")), "unknown activation 'gelu'"),
    ((A, B._replace(add="")), "layer 'b' is clipped, which only a sum is"),
    ((A, B._replace(add="c")), "layer 'b' adds 'c', which is no layer before it"),
    ((A, B._replace(add="b")), "layer 'b' adds 'b', which is no layer before it"),
    ((A, B._replace(name="a")), "two layers have the name 'a'"),
    ((A._replace(name="picture"),), "two layers have the name 'picture'"),
  ],
)
def test_tables_that_make_no_sense_are_refused_in_one_line(layers, message):
  assert check_layers((A, B)) == (A, B) and check_layers((A._replace(add="picture"),))
  with pytest.raises(ValueError, match=message) as caught:
    run(layers, jnp.zeros((1, 4, 4, 3)))
  assert "\n" not in str(caught.value)


def test_a_layer_by_itself_and_a_gate_that_is_not_given_are_refused():
  for layer in (A._replace(norm="batch"), A._replace(clipped=True)):
    with pytest.raises(ValueError, match=r"unknown norm|is clipped"):
      jax.eval_shape(ConvLayer(layer).init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
  with pytest.raises(ValueError, match="layer 'a' has the gate 'g', which is not in `gates`"):
    run((A._replace(gate="g"),), jnp.zeros((1, 4, 4, 3)))


def _parameters(**other):
  return {name: np.zeros(shape) for name, shape in ({**shapes((A, B)), **other}).items() if shape is not None}


@pytest.mark.parametrize(
  ("variables", "message"),
  [
    (_parameters(), 'have no collection "params": give {"params": parameters}'),
    ({"params": _parameters(**{"a/kernel": (1, 1, 3, 4)})}, r"'a/kernel' must be \(1, 1, 3, 3\), and is"),
    ({"params": _parameters(**{"a/bias": (1,)})}, r"'a/bias' must be \(3,\), and is \(1,\)"),
    ({"params": _parameters(**{"b/scale": None})}, r"'b/scale' must be \(3,\), and is missing"),
    ({"params": _parameters(**{"a/scale": (3,)})}, "not those of the generator: it has no 'a/scale'"),
    ({"params": _parameters(**{"c/bias": (3,)})}, "not those of the generator: it has no 'c/bias'"),
  ],
)
def test_parameters_of_another_table_are_refused(variables, message):
  params = _parameters(**{"a/clip": ()})  # learned clips are no matter of the table
  assert check_parameters((A, B), {"params": params}) is params
  with pytest.raises(ValueError, match=message):
    check_parameters((A, B), variables)
