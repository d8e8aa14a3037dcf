"""HRNet and SimpleBaseline: published counts, and what torch computes for reduced ones (pose.npz)."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.seeded import images, seeded

from vita_jax.base import named_leaves
from vita_jax.compress.counts import count_parameters, traced_macs
from vita_jax.nn import hrnet, simple_baseline
from vita_jax.nn.conv import convolve
from vita_jax.nn.hrnet import HRNet
from vita_jax.nn.simple_baseline import SimpleBaseline

FILE = Path(__file__).parent / "fixtures" / "pose.npz"
REDUCED = dict(modules=(1, 1, 1), blocks=1, bottlenecks=1)
NETS = {
  "hrnet": (
    HRNet(5, width=4, stem=6, form="top", **REDUCED),
    functools.partial(hrnet.variables_of_published, **REDUCED),
  ),
  "simple": (
    SimpleBaseline(5, depth=18, width=4, upsampling=(6, 6, 6), form="top"),
    functools.partial(simple_baseline.variables_of_published, depth=18),
  ),
}
GRADIENTS = {
  "conv1.weight": "stem1/kernel",
  "stage2.0.fuse_layers.1.0.0.0.weight": "stage2_0/fusion/down0_1_0/kernel",
  "stage4.0.fuse_layers.0.3.1.weight": "stage4_0/fusion/up3_0/scale",
  "deconv_layers.3.weight": "up1/kernel",
  "deconv_layers.4.bias": "up1_norm/bias",
}
STATISTICS = {
  "hrnet": ("stage3.0.fuse_layers.2.0.1.1.running_var", "stage3_0/fusion/down0_2_1/var"),
  "simple": ("deconv_layers.1.running_mean", "up0_norm/mean"),
}
X = images(2, 64, 64, 3)


@pytest.fixture(scope="module")
def known():
  with np.load(FILE, allow_pickle=False) as file:
    return {name: file[name] for name in file.files}


def _close(found, expected, tolerance=1e-4):
  np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@pytest.fixture(scope="module", params=["hrnet", pytest.param("simple", marks=pytest.mark.slow)])
def found(request, known):
  """(name, variables, maps, gradients, maps in training, statistics afterwards), by one program."""
  net, convert = NETS[request.param]
  variables = convert(seeded(json.loads(str(known[f"{request.param}/shapes"]))))
  weights = jnp.linspace(-1, 1, 2 * 16 * 16 * 5).reshape(2, 16, 16, 5)

  def loss(params):
    maps = net.apply({**variables, "params": params}, X)
    return jnp.sum(maps * weights), maps

  @jax.jit
  def run(variables):
    (_, maps), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    trained, moved = net.apply(variables, X, train=True, mutable=["batch_stats"])
    return maps, gradients, trained, moved["batch_stats"]

  return request.param, variables, *run(variables)


def test_maps_gradients_and_statistics_are_those_of_torch(found, known):
  name, _, maps, gradients, trained, moved = found
  _close(maps, known[f"{name}/maps"])
  _close(trained, known[f"{name}/train/maps"], 1e-3)
  theirs, ours = STATISTICS[name]
  _close(named_leaves(moved)[ours], known[f"{name}/train/{theirs}"], 1e-3)
  compared = [key for key in known if key.startswith(f"{name}/gradient/")]
  assert len(compared) == {"hrnet": 3, "simple": 2}[name]
  for key in compared:
    tensor = key.rpartition("/")[2]
    gradient = np.asarray(named_leaves(gradients)[GRADIENTS[tensor]])
    if gradient.ndim == 4:
      gradient = gradient.transpose((2, 3, 0, 1) if "deconv" in tensor else (3, 2, 0, 1))
    _close(gradient, known[key], 1e-3)


def test_every_tensor_of_the_published_names_is_taken_and_fits(found, known):
  name, variables = found[:2]
  net, convert = NETS[name]
  shapes = jax.eval_shape(net.init, jax.random.key(0), X)
  assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, dict(shapes))
  arrays = seeded(json.loads(str(known[f"{name}/shapes"])))
  assert len(jax.tree.leaves(variables)) == len(arrays)
  del arrays["final_layer.weight"]
  with pytest.raises(ValueError, match="no tensor 'final_layer.weight'"):
    convert(arrays)


def _counts(module, height=256, width=192):
  image = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), image)
  return count_parameters(variables["params"]), traced_macs(module.apply, variables, image)


def test_hrnet_w32_has_the_published_size():
  parameters, macs = _counts(HRNet(form="native"))
  assert parameters == 28_536_113 and round(macs / 1e9, 3) == 7.645
  assert round(macs / 2**30, 1) == 7.1  # the published GFLOPs are multiply-adds over 2^30


@pytest.mark.slow
@pytest.mark.parametrize(
  ("width", "size", "millions", "gflops"),
  [
    pytest.param(32, (384, 288), 28.5, 16.0, marks=pytest.mark.slow),
    (48, (256, 192), 63.6, 14.6),
    pytest.param(48, (384, 288), 63.6, 32.9, marks=pytest.mark.slow),
  ],
)
def test_the_other_published_sizes_of_hrnet(width, size, millions, gflops):
  parameters, macs = _counts(HRNet(width=width, form="native"), *size)
  assert (round(parameters / 1e6, 1), round(macs / 2**30, 1)) == (millions, gflops)


@pytest.mark.parametrize(
  ("depth", "millions", "gflops"),
  [
    (50, 34.0, 8.9),
    pytest.param(101, 53.0, 12.4, marks=pytest.mark.slow),
    pytest.param(152, 68.6, 15.7, marks=pytest.mark.slow),
  ],
)
def test_simple_baselines_have_the_published_sizes(depth, millions, gflops):
  parameters, macs = _counts(SimpleBaseline(depth=depth, form="native"))
  assert round(parameters / 1e6, 1) == millions
  # The published count has transposed convolutions at the places of their outputs, four times as many.
  inputs = (2048 * 48, 256 * 192, 256 * 768)
  more = 3 * sum(16 * 256 * channels for channels in inputs)
  assert (macs + more) / 2**30 == pytest.approx(gflops, abs=0.1)


def test_heads_start_near_0_and_the_rest_as_asked():
  for start, deviation in (("published", 1e-3), ("he", np.sqrt(2 / (9 * 8)))):
    net = HRNet(3, width=8, stem=8, start=start, **REDUCED)
    params = jax.eval_shape(net.init, jax.random.key(0), X)["params"]
    assert params["stage3_0"]["branch0_0"]["conv1"]["kernel"].shape == (3, 3, 8, 8)
    kernel = hrnet.kernel_start(start)(jax.random.key(0), (3, 3, 8, 8))
    assert float(jnp.std(kernel)) == pytest.approx(deviation, rel=0.2)
  head = hrnet.head(17, form="native").init(jax.random.key(0), jnp.ones((1, 4, 4, 32)))["params"]
  assert float(jnp.std(head["kernel"])) == pytest.approx(1e-3, rel=0.2) and not head["bias"].any()
  with pytest.raises(ValueError, match="unknown start 'hee': did you mean 'he'"):
    hrnet.kernel_start("hee")


@pytest.mark.parametrize("net", [HRNet(3, width=4, **REDUCED), SimpleBaseline(3, depth=18, width=4)])
def test_pictures_of_other_sizes_are_refused(net):
  with pytest.raises(ValueError, match="images are 64 x 48: both must be multiples of 32"):
    jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 64, 48, 3)))


def test_upsampling_and_strides_are_those_of_the_fusion():
  """By hand, with identity norms: branch 1 to 0 is a product and repetition, 0 to 1 a strided convolution."""
  fusion = hrnet.Fusion(2, form="native")
  fine, coarse = (jax.random.normal(jax.random.key(i), (1, s, s, c)) for i, s, c in ((0, 8, 2), (1, 4, 4)))
  variables = fusion.init(jax.random.key(2), [fine, coarse])
  found = fusion.apply(variables, [fine, coarse])
  up, down = (variables["params"][name]["kernel"] / np.sqrt(1 + 1e-5) for name in ("up1_0", "down0_1_0"))
  repeated = jnp.repeat(jnp.repeat(coarse @ up[0, 0], 2, axis=1), 2, axis=2)
  np.testing.assert_allclose(found[0], jax.nn.relu(fine + repeated), atol=1e-6)
  strided = convolve(fine, down, stride=2, padding=1, form="native")
  np.testing.assert_allclose(found[1], jax.nn.relu(coarse + strided), atol=1e-6)
