"""The integer program: int8 operands, int32 sums, the picture of the simulation, on its own in a file."""

import functools
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress.integer import integer_convolution, integer_program
from vita_jax.compress.onnx_files import onnx_model
from vita_jax.compress.quantize import Quant
from vita_jax.nn.gan import ResnetGenerator, resnet_widths
from vita_jax.nn.layers import Layer, convolution

LAYERS = {
  "zeros": Layer("a", 3, 4, 3, 1, 1),
  "strided": Layer("a", 3, 4, 3, 2, 1),
  "reflect": Layer("a", 3, 4, 3, 1, 1, reflect=True),
  "transposed": Layer("a", 3, 4, 3, 2, 1, transposed=True),
  "transposed by 3": Layer("a", 3, 2, 5, 3, 1, transposed=True),
}


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_sums_of_levels_are_exact_at_the_borders_too(layer, shifted):
  rng = np.random.default_rng(0)
  low, high = (0, 256) if shifted else (-127, 128)
  levels = jnp.asarray(rng.integers(low, high, (1, 5, 6, 3)), jnp.int32)
  kernel = rng.integers(-127, 128, (layer.kernel, layer.kernel, 3, layer.features)).astype(np.int8)
  found = jax.jit(functools.partial(integer_convolution, layer, shifted=shifted))(levels, kernel)
  x = levels.astype(jnp.float32)
  if layer.reflect:
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
  wanted = convolution(layer, x, kernel.astype(np.float32), form="native")
  assert found.dtype == jnp.int32 and jnp.abs(wanted).max() > 50_000
  np.testing.assert_array_equal(found, wanted)


def test_sums_of_many_channels_are_exact_where_the_compiler_was_wrong():
  """XLA's int8 convolution of an image with zeros between its places was, from about 32 channels on."""
  rng = np.random.default_rng(0)
  layer = Layer("a", 32, 16, 3, 2, 1, transposed=True)
  levels = jnp.asarray(rng.integers(-127, 128, (1, 28, 40, 32)), jnp.int32)
  kernel = rng.integers(-127, 128, (3, 3, 32, 16)).astype(np.int8)
  found = jax.jit(functools.partial(integer_convolution, layer, shifted=False))(levels, kernel)
  wanted = convolution(layer, levels.astype(jnp.float32), kernel.astype(np.float32), form="native")
  np.testing.assert_array_equal(found, wanted)


@pytest.fixture(scope="module")
def program(resnet, images):
  """(quantised generator, variables, program, arrays, its pictures)."""
  net, params, _ = resnet
  net = net.clone(quant=Quant(per_channel=True))
  run, arrays = integer_program(net, {"params": params})
  return net, params, run, arrays, jax.jit(run)(arrays, images)


def test_it_gives_the_picture_of_the_simulation(program, images):
  net, params, _, arrays, found = program
  wanted = np.asarray(jax.jit(net.apply)({"params": params}, images))
  # The sums are equal bit for bit; norms may round otherwise, which moves single levels at most.
  assert np.mean((np.asarray(found) - wanted) ** 2) < 1e-5 * 4  # PSNR above 50 dB, of a range of 2
  np.testing.assert_allclose(found, wanted, atol=0.02)
  assert {name: x["kernel"].dtype.name for name, x in arrays.items() if name != "stream_scale"} == {
    layer.name: "int8" for layer in net.layers
  }


def test_every_quantised_layer_convolves_int8_into_int32(program, images):
  _, _, run, arrays, _ = program
  equations = jax.make_jaxpr(run)(arrays, images).eqns
  seen = [
    (*(v.aval.dtype.name for v in eqn.invars), eqn.outvars[0].aval.dtype.name)
    for eqn in _flat(equations)
    if eqn.primitive.name == "conv_general_dilated"
  ]
  plain = [types for types in seen if types[0] != "int8"]
  assert plain and set(plain) == {("float32", "float32", "float32")}  # of the picture, which is not quantised
  assert seen[: len(plain)] == plain and seen[len(plain) :] == [("int8", "int8", "int32")] * 9


def _flat(equations):
  for eqn in equations:
    values = [x for v in eqn.params.values() for x in (v if isinstance(v, tuple) else (v,))]
    inner = [getattr(v, "jaxpr", v) for v in values if hasattr(getattr(v, "jaxpr", v), "eqns")]
    if inner:
      for jaxpr in inner:
        yield from _flat(jaxpr.eqns)
    else:
      yield eqn


READER = """
import sys
import jax, numpy as np
with np.load("arrays.npz") as file:
  given = dict(file)
images = given.pop("images")
arrays = {}
for name, x in given.items():
  *layer, leaf = name.split("/")
  (arrays.setdefault(layer[0], {}) if layer else arrays)[leaf] = x
with open("program", "rb") as file:
  program = jax.export.deserialize(bytearray(file.read()))
assert set(program.platforms) == {"cpu", "cuda", "tpu"}, program.platforms
np.save("found.npy", program.call(arrays, images))
assert not [name for name in sys.modules if name.startswith("vita_jax")]
"""


def test_the_exported_program_runs_in_a_process_without_this_package(program, images, tmp_path):
  _, _, run, arrays, here = program
  scope = jax.export.SymbolicScope()
  shape = jax.export.symbolic_shape("n, 12, 16, 3", scope=scope)
  like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arrays)
  exported = jax.export.export(jax.jit(run), platforms=("cpu", "cuda", "tpu"))(
    like, jax.ShapeDtypeStruct(shape, jnp.float32)
  )
  (tmp_path / "program").write_bytes(exported.serialize())
  flat = {"/".join(str(k.key) for k in path): x for path, x in jax.tree_util.tree_leaves_with_path(arrays)}
  np.savez(tmp_path / "arrays.npz", images=images, **flat)
  done = subprocess.run(
    [sys.executable, "-I", "-c", READER], cwd=tmp_path, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), here)


def test_what_no_8_bits_hold_and_other_parameters_are_refused(resnet, cartoon):
  net, params, _ = resnet
  with pytest.raises(ValueError, match="257 levels, which no 8 bits hold"):
    integer_program(net.clone(quant=Quant(paper_code_compat=True)), {"params": params})
  with pytest.raises(ValueError, match="give it quant"):
    integer_program(net, {"params": params})
  with pytest.raises(ValueError, match="the parameters are not those of the generator: 'down_0/kernel'"):
    integer_program(net.clone(quant=Quant()), {"params": cartoon[1]})


def test_a_clip_that_training_drove_below_0_is_that_of_the_simulation():
  """There it is 1e-8: a negative one would make the steps of files negative."""
  layer = Layer("a", 1, 1, 1, signed=False)
  params = {"a": {"kernel": np.ones((1, 1, 1, 1), np.float32), "bias": np.zeros(1), "clip": np.float32(-1)}}
  net = SimpleNamespace(layers=(layer,), quant=Quant(clip_kind="learned"))
  assert integer_program(net, {"params": params})[1]["a"]["clip"] == np.float32(1e-8)


@pytest.mark.slow
def test_a_residual_output_reaches_the_integer_program_and_the_onnx_file(images):
  net = ResnetGenerator(resnet_widths(2, 1), form="native", quant=Quant(), output="residual")
  variables = net.init(jax.random.key(0), images)
  program, arrays = integer_program(net, variables)
  np.testing.assert_allclose(program(arrays, images), net.apply(variables, images), atol=1e-4)
  ort = pytest.importorskip("onnxruntime")
  model, pixels = onnx_model(net.clone(quant=None), variables), np.moveaxis(np.asarray(images), -1, 1)
  given = ort.InferenceSession(model.SerializeToString()).run(None, {"image": pixels})[0]
  wanted = net.clone(quant=None).apply(variables, images)
  np.testing.assert_allclose(np.moveaxis(given, 1, -1), wanted, atol=1e-4)
