"""The hand landmark networks against the libraries that they were made for, and as judges of renderings."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data.files_tfjs import read_tfjs
from vita_jax.data.sources import data_file
from vita_jax.nn import hand_landmarks

FIXTURE = Path(__file__).parent / "fixtures" / "hands.npz"
pytestmark = pytest.mark.skipif(
  data_file("hand/handlandmark-lite.json") is None, reason="the networks are not under $VITA_DATA_DIR"
)


@pytest.fixture(scope="module")
def stored():
  with np.load(FIXTURE, allow_pickle=False) as file:
    return dict(file)


@pytest.fixture(scope="module", params=hand_landmarks.NAMES)
def network(request):
  module, variables = hand_landmarks.load_hand_landmarks(request.param, form="top")
  return request.param, module, variables, jax.jit(module.apply)


def test_the_outputs_are_those_of_the_published_network(network, stored):
  which, _, variables, apply = network
  found = apply(variables, jnp.asarray(stored["image"][None] / 255.0, jnp.float32))
  np.testing.assert_allclose(found.joints.reshape(63), stored[f"{which}_joints"], atol=1e-3)  # px of 224
  np.testing.assert_allclose(found.world.reshape(63), stored[f"{which}_world"], atol=1e-5)
  np.testing.assert_allclose(found.presence, stored[f"{which}_presence"], atol=1e-5)
  np.testing.assert_allclose(found.right, stored[f"{which}_right"], atol=1e-5)
  sides = [found.maps[name].shape[1] for name in hand_landmarks.LEVELS]
  assert sides == [112, 56, 28, 14, 7]


def test_the_networks_have_the_published_numbers_of_weights_and_differ(network, stored):
  which, _, variables, _ = network
  count = sum(x.size for x in jax.tree.leaves(variables))
  assert count == {"lite": 1_011_712, "full": 2_715_680}[which]
  joints = [stored[f"{name}_joints"].reshape(21, 3)[:, :2] for name in hand_landmarks.NAMES]
  assert np.linalg.norm(joints[0] - joints[1], axis=1).mean() == pytest.approx(1.88, abs=0.01)


class _Fixed:
  """In place of a network: joints at the middle of its picture."""

  def apply(self, variables, images):
    assert images.shape[1:] == (224, 224, 3)
    joints = jnp.tile(jnp.array([112.0, 56.0, 10.0]), (len(images), 21, 1))
    return hand_landmarks.Landmarks(joints, jnp.ones(len(images)), jnp.ones(len(images)), joints, {})


def test_the_judge_answers_in_pixels_of_the_picture():
  found = hand_landmarks.judge(_Fixed(), {}, jnp.zeros((2, 64, 96, 3)))
  np.testing.assert_allclose(found.joints[1, 7], [47.5, 15.5, 10 * 80 / 224], rtol=1e-6)
  with pytest.raises(ValueError, match=r"pictures are floating .* these are uint8 \[1, 64, 64, 3\]"):
    hand_landmarks.judge(_Fixed(), {}, jnp.zeros((1, 64, 64, 3), jnp.uint8))


def test_weights_of_another_network_and_prepared_ones(tmp_path):
  graph = read_tfjs(data_file("hand/handlandmark-lite.json"))
  with pytest.raises(ValueError, match=r"no dense layer makes its Identity"):
    hand_landmarks.params_of_graph(
      "lite", graph._replace(ops=tuple(op for op in graph.ops if "Mul" not in op.kind))
    )
  with pytest.raises(ValueError, match="it has 46 convolutions, not 47"):
    first = next(op for op in graph.ops if op.kind == "Conv2D")
    hand_landmarks.params_of_graph(
      "lite", graph._replace(ops=tuple(op for op in graph.ops if op is not first))
    )
  folder = hand_landmarks.prepare("lite", tmp_path)
  _, again = hand_landmarks.load_hand_landmarks("lite", folder)
  _, published = hand_landmarks.load_hand_landmarks("lite", data_file("hand/handlandmark-lite.json").parent)
  jax.tree.map(np.testing.assert_array_equal, again, published)
  assert (folder / "params.safetensors").stat().st_size < 2.1e6
  with pytest.raises(ValueError, match="not of hand_landmarks_full"):
    hand_landmarks.load_hand_landmarks("full", folder)
  with pytest.raises(ValueError, match="did you mean 'lite'"):
    hand_landmarks.load_hand_landmarks("light")
