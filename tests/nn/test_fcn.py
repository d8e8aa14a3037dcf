"""FCN-8s and its classifier: torch's numbers (backbones.npz), shapes of the original, interpolation."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.seeded import images, seeded

from vita_jax.nn import fcn
from vita_jax.nn.torch_weights import channels_last

FILE = Path(__file__).parent / "fixtures" / "backbones.npz"
WIDTHS = ((4, 4), (4, 4), (6, 6, 6), (6, 6, 6), (8, 8, 8))
HIDDEN, OLD, NEW = 10, 7, 3
SIZES = ((40, 40), (33, 57))  # those of the fixture


@pytest.fixture(scope="module")
def known():
  with np.load(FILE, allow_pickle=False) as file:
    return {name: file[name] for name in file.files if name.startswith(("vgg16", "fcn8s"))}


@pytest.fixture(scope="module")
def pretrained(known):
  return fcn.variables_of_torchvision(seeded(json.loads(str(known["vgg16/shapes"]))))


def _module(form="native"):
  return fcn.FCN8s(NEW, widths=WIDTHS, hidden=HIDDEN, form=form)


@pytest.fixture(scope="module")
def params(known, pretrained):
  """The pretrained trunk, with scores and upsampling that are not those it begins with."""
  fresh = jax.jit(_module().init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
  found = fcn.with_pretrained(fresh, pretrained)
  for name, x in seeded(json.loads(str(known["fcn8s/shapes"]))).items():
    layer, _, part = name.partition(".")
    assert found[layer].keys() <= {"kernel", "bias"}
    if layer.startswith("upscore"):  # torch: [inputs, outputs, size, size]
      found[layer] = {"kernel": x.transpose(2, 3, 0, 1)}
    else:
      found[layer] = {
        **found[layer],
        "kernel" if part == "weight" else part: x if x.ndim == 1 else channels_last(x),
      }
  return found


@pytest.mark.parametrize("i", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_numbers_are_those_of_torch(known, params, pretrained, i):
  """One trunk: its maps go to the scores, and through the teacher's classifier."""
  x = images(2, *SIZES[i], 3, seed=i)

  @jax.jit
  def both(params, classifier, x):
    outputs = _module().apply({"params": params}, x)
    return outputs.logits, fcn.Classifier(OLD, HIDDEN).apply(classifier, outputs.pool5)

  logits, old = both(params, pretrained["classifier"], x)
  for found, name in ((logits.transpose(0, 3, 1, 2), "fcn8s"), (old, "vgg16")):
    expected = known[f"{name}/{i}/logits"]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), err_msg=name)


def _pools(size):
  image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  trunk = fcn.Trunk(((2,), (2,), (2,), (2,), (2,)), "native")
  return jax.eval_shape(trunk.init_with_output, jax.random.key(0), image)[0]


@pytest.mark.parametrize(
  ("size", "pools"),
  [((512, 512), (89, 45, 23)), ((64, 64), (33, 17, 9)), ((224, 224), (53, 27, 14)), ((1, 1), (25, 13, 7))],
)
def test_the_shapes_are_those_of_the_original(size, pools):
  found = _pools(size)
  assert tuple(x.shape[1] for x in found) == tuple(x.shape[2] for x in found) == pools


@pytest.mark.parametrize("size", [(512, 512), (64, 96), (33, 57), (1, 1), (1024, 2048)])
def test_every_pixel_has_logits(size):
  image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
  module = fcn.FCN8s(19, widths=((2,),) * 5, hidden=3, form="native")
  outputs, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
  assert outputs.logits.shape == (2, *size, 19)


def test_the_full_network_has_the_weights_of_vgg16():
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  module = fcn.FCN8s(19, form="native")
  params = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
  sizes = {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in params.items()}
  assert (sizes["trunk"], sizes["fc6"], sizes["fc7"]) == (14_714_688, 102_764_544, 16_781_312)
  both = jax.eval_shape(fcn._init_both, jax.random.key(0))
  assert sum(x.size for x in jax.tree.leaves(both)) == 138_357_544  # torchvision's vgg16


def test_a_fresh_network_scores_nothing_and_its_upsampling_interpolates():
  params = jax.jit(_module().init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
  assert not np.any(params["score_fr"]["kernel"]) and not np.any(params["score_pool3"]["bias"])
  for size, stride in ((4, 2), (16, 8)):
    kernel = np.asarray(fcn.bilinear(jax.random.key(0), (size, size, 2, 2)))
    assert not kernel[:, :, 0, 1].any()
    layer = fcn.ConvTranspose(2, size, stride, use_bias=False, kernel_init=fcn.bilinear, form="native")
    x = jnp.stack([jnp.ones((6, 6)), jnp.broadcast_to(jnp.arange(6.0), (6, 6))], -1)[None]
    y, _ = layer.init_with_output(jax.random.key(0), x)
    inner = np.asarray(y[0, size:-size, size:-size])
    np.testing.assert_allclose(inner[..., 0], 1.0, rtol=1e-5)  # a constant stays constant
    np.testing.assert_allclose(np.diff(inner[..., 1], axis=1), 1 / stride, rtol=1e-4)  # a slope stays a slope


def test_other_weights_are_refused_by_name(pretrained):
  fresh = jax.eval_shape(
    fcn.FCN8s(NEW, widths=WIDTHS, hidden=12, form="native").init, jax.random.key(0), jnp.zeros((1, 8, 8, 3))
  )["params"]
  with pytest.raises(ValueError, match="not of FCN8s: 'fc6/bias' is"):
    fcn.with_pretrained({k: v for k, v in fresh.items()}, pretrained)
  with pytest.raises(ValueError, match="no tensor 'features.0.weight'"):
    fcn.variables_of_torchvision({})


def test_a_fresh_trunk_passes_its_signal_on_through_thirteen_convolutions():
  trunk = fcn.Trunk(((8, 8), (16, 16), (32,) * 3, (64,) * 3, (64,) * 3), form="native")
  images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
  pools, _ = jax.jit(trunk.init_with_output)(jax.random.key(1), images)
  middle = pools.pool5[:, 3:-3, 3:-3]  # without what sees nothing but padding
  assert 0.1 < float(jnp.std(middle)) < 10.0
