"""MobileNetV2 has the shapes of its paper."""

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from vita_jax.nn import mobilenet


@pytest.mark.parametrize(("width", "stem", "thin"), [(1.0, 32, 320), (0.5, 16, 160), (1.75, 56, 560)])
def test_maps_have_the_shapes_of_the_paper(width, stem, thin):
  image = jax.ShapeDtypeStruct((2, 96, 64, 3), jnp.float32)
  module = mobilenet.MobileNetV2(width)
  maps, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
  sides = [x.shape[1] for x in maps.blocks]
  assert sides == [48] + [24] * 2 + [12] * 3 + [6] * 7 + [3] * 4
  assert maps.last.shape == (2, 3, 2, 1280) and maps.blocks[-1].shape == (2, 3, 2, thin)
  assert maps.expanded[0].shape == (2, 48, 32, stem) and maps.expanded[13].shape[1] == 6
  params = variables["params"]
  assert params["stem"]["kernel"].shape == (3, 3, 3, stem)
  names = ["/".join(path[:-1]) for path in flatten_dict(params) if path[-1] == "kernel"]
  assert sorted(names) == sorted(mobilenet.layer_names()) and len(names) == 52


def test_the_number_of_weights_is_the_known_one():
  """2,223,872 before the classifier, where each of the 17,056 biases has a batch norm's scale beside it."""
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  params = flatten_dict(jax.eval_shape(mobilenet.MobileNetV2().init, jax.random.key(0), image)["params"])
  biases = sum(x.size for name, x in params.items() if name[-1] == "bias")
  assert biases == 17_056
  assert sum(x.size for x in params.values()) + biases == 2_223_872
