"""ResNets give torchvision's numbers, gradients and counts; backbones.npz holds what torchvision gave."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.seeded import images, seeded
from safetensors.numpy import save_file

from vita_jax.base import named_leaves
from vita_jax.nn import resnet

FILE = Path(__file__).parent / "fixtures" / "backbones.npz"
COUNTS = {18: 11_689_512, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}  # torchvision's
X = images(2, 64, 64, 3)


@pytest.fixture(scope="module")
def known():
  with np.load(FILE, allow_pickle=False) as file:
    return {name: file[name] for name in file.files if name.startswith("resnet")}


def _arrays(known, depth):
  return seeded(json.loads(str(known[f"resnet{depth}/shapes"])))


@pytest.fixture(scope="module")
def small(known):
  """(variables, outputs, gradients of the parameters) of ResNet-18 in inference mode, by one program."""
  variables = resnet.variables_of_torchvision(_arrays(known, 18), depth=18)
  weights = jnp.linspace(-1, 1, 2000).reshape(2, 1000)

  def loss(params):
    outputs = resnet.ResNet(18, form="top").apply({**variables, "params": params}, X)
    return jnp.sum(outputs.logits * weights), outputs

  (_, outputs), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
  return variables, outputs, gradients


def _close(found, expected, tolerance=1e-4):
  np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_logits_are_those_of_torchvision(known, small):
  _, outputs, _ = small
  _close(outputs.logits, known["resnet18/logits"])
  assert outputs.features.shape == (2, 512)
  assert [x.shape for x in outputs.stages] == [
    (2, 16, 16, 64),
    (2, 8, 8, 128),
    (2, 4, 4, 256),
    (2, 2, 2, 512),
  ]


def test_scale_and_shift_of_frozen_norms_have_the_gradients_of_torch(known, small):
  gradients = named_leaves(small[2])
  ours = {
    "conv1.weight": "stem/kernel",
    "bn1.weight": "stem/scale",
    "layer2.0.downsample.1.bias": "layer2_0/downsample/bias",
    "fc.bias": "classifier/bias",
  }
  for theirs, name in ours.items():
    expected = known[f"resnet18/gradient/{theirs}"]
    found = np.asarray(gradients[name])
    _close(found.transpose(3, 2, 0, 1) if found.ndim == 4 else found, expected, 1e-3)


@pytest.mark.slow
def test_bottlenecks_are_those_of_torchvision(known):
  variables = resnet.variables_of_torchvision(_arrays(known, 50), depth=50)
  outputs = jax.jit(resnet.ResNet(50, form="native").apply)(variables, X)
  _close(outputs.logits, known["resnet50/logits"])


@pytest.mark.slow
def test_training_mode_is_that_of_torch(known):
  variables = resnet.variables_of_torchvision(_arrays(known, 18), depth=18)
  apply = jax.jit(lambda v: resnet.ResNet(18, form="native").apply(v, X, train=True, mutable=["batch_stats"]))
  outputs, moved = apply(variables)
  _close(outputs.logits, known["resnet18/train/logits"], 1e-3)
  _close(moved["batch_stats"]["stem"]["mean"], known["resnet18/train/bn1.running_mean"])
  _close(
    moved["batch_stats"]["layer4_1"]["conv2"]["var"], known["resnet18/train/layer4.1.bn2.running_var"], 1e-3
  )


def _shapes(depth, **options):
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  module = resnet.ResNet(depth, form="native", **options)
  return jax.eval_shape(module.init_with_output, jax.random.key(0), image)


@pytest.mark.parametrize("depth", COUNTS)
def test_weights_are_as_many_as_torchvisions(depth):
  outputs, variables = _shapes(depth)
  assert sum(x.size for x in jax.tree.leaves(variables["params"])) == COUNTS[depth]
  assert outputs.features.shape == (1, 512 if depth == 18 else 2048)
  if depth == 101:  # the backbone alone, and the old head
    old = sum(x.size for x in jax.tree.leaves(variables["params"]["classifier"]))
    assert (COUNTS[101] - old, old) == (42_500_160, 2_049_000)


def test_a_file_is_loaded_and_one_of_another_network_refused(known, tmp_path):
  arrays = {**_arrays(known, 18), "bn1.num_batches_tracked": np.int64(3).reshape(1)}
  save_file(arrays, tmp_path / "resnet18.safetensors")
  variables = resnet.load(tmp_path / "resnet18.safetensors", depth=18)
  np.testing.assert_array_equal(variables["params"]["stem"]["scale"], arrays["bn1.weight"])
  with pytest.raises(ValueError, match="no tensor 'layer1.0.conv3.weight': it is of another network"):
    resnet.load(tmp_path / "resnet18.safetensors", depth=50)
  with pytest.raises(
    ValueError, match=r"not of resnet18: 'params/classifier/bias' is \(1000,\), not \(10,\)"
  ):
    resnet.load(tmp_path / "resnet18.safetensors", depth=18, classes=10)
  with pytest.raises(ValueError, match="depth is 34: choose one of 18, 50, 101, 152"):
    resnet.kind_of(34)


def test_pictures_are_normalised_as_torchvision_has_them():
  x = jnp.asarray(resnet.MEAN) + 2.0 * jnp.asarray(resnet.DEVIATION)
  np.testing.assert_allclose(resnet.preprocessed(x[None, None, None]), 2.0, rtol=1e-5)
