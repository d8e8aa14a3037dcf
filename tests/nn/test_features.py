"""Feature networks give torch's numbers (features.npz); missing files and other networks get one line."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data import read_image
from vita_jax.data.sources import source_files
from vita_jax.losses import perceptual_distance
from vita_jax.nn import features

HERE = Path(__file__).parent
REAL = tuple(name for name in features.NAMES if name != features.RANDOM)
PARTS = {"even": (slice(116, 212), slice(58, 154)), "odd": (slice(200, 265), slice(100, 171))}


@pytest.fixture(scope="module")
def known():
  with np.load(HERE / "fixtures" / "features.npz", allow_pickle=False) as file:
    return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def picture():
  """float32 [416, 416, 3] in [0, 1]."""
  return np.float32(read_image(HERE / "detectors" / "fixtures" / "picture.webp") / 255.0)


@functools.cache
def _loaded(name):
  return features.load(name, form="native")


@pytest.fixture
def published():
  """name -> the network; skips where its file is not there."""

  def load(name):
    if name != features.RANDOM and source_files(features.source_name(name)) is None:
      pytest.skip(f"the weights of {name} are not under $VITA_DATA_DIR")
    return _loaded(name)

  return load


def _cases():
  for name in REAL:
    yield pytest.param(name, "even", id=f"{name}-even")
    yield pytest.param(name, "odd", id=f"{name}-odd", marks=[] if name == "hed_vgg16" else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "part"), tuple(_cases()))
def test_maps_and_vectors_are_those_of_torch(name, part, known, picture, published):
  net = published(name)
  rows, columns = PARTS[part]
  found = jax.jit(net.apply)(net.variables, picture[rows, columns][None])
  start = f"{name}/{part}/"
  expected = {n.removeprefix(start): x for n, x in known.items() if n.startswith(start)}
  assert {n.partition("/")[0] for n in expected} - {"logits"} == set(found.maps)
  for layer, x in found.maps.items():
    scale = max(float(np.abs(expected[f"{layer}/std"]).max()), 1e-3)
    np.testing.assert_allclose(x[0].mean((0, 1)), expected[f"{layer}/mean"], atol=1e-4 * scale, err_msg=layer)
    np.testing.assert_allclose(x[0].std((0, 1)), expected[f"{layer}/std"], atol=1e-4 * scale, err_msg=layer)
  last = list(found.maps)[-1]
  np.testing.assert_allclose(found.pooled[0], expected[f"{last}/mean"], atol=1e-4)
  assert found.pooled.shape == (1, net.width) and set(net.layers) <= set(found.maps)
  sides = [found.maps[layer].shape[1] for layer in net.layers]
  assert sides == sorted(sides, reverse=True) and len(set(sides)) == len(sides)
  if "logits" in expected:
    classifier = net.variables["params"]["classifier"]
    logits = found.pooled @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(logits[0], expected["logits"], atol=1e-3)


def test_cards_are_plain_and_count_the_weights(published):
  for name in features.NAMES:
    net = published(name)
    json.dumps(net.card)
    # a folded batch norm has one number less per channel: its scale
    held = sum(x.size for x in jax.tree.leaves(net.variables))
    biases = sum(
      x.size
      for path, x in jax.tree_util.tree_leaves_with_path(net.variables)
      if "bias" in jax.tree_util.keystr(path) and "classifier" not in jax.tree_util.keystr(path)
    )
    folded = name in ("efficientnet_lite0", "mobilenet_v2")
    assert held + folded * biases == net.card["weights"], name
    assert net.card["name"] == name and net.card["layers"] == list(net.layers)


def test_a_pyramid_serves_a_perceptual_loss_and_has_gradients():
  net = features.load("random", form="native")
  x, y = np.random.default_rng(0).uniform(size=(2, 1, 16, 16, 3)).astype(np.float32)

  def distance(image):
    def pyramid(images):
      return net.apply(net.variables, images).maps

    return perceptual_distance(pyramid, image, y, content=net.layers[:1], style=net.layers)

  gradient = jax.jit(jax.grad(distance))(x)
  assert np.isfinite(gradient).all() and np.any(gradient)
  assert net.card["name"] == "random" and "random weights" in net.card["trained on"]


def test_pictures_are_embedded_in_batches_of_one_size():
  net = features.load("random", form="native")
  pictures = np.random.default_rng(1).integers(0, 256, (5, 12, 16, 3), dtype=np.uint8)
  found = features.pooled_features(net, pictures, batch_size=2)
  whole = net.apply(net.variables, jnp.asarray(pictures, jnp.float32) / 255).pooled
  np.testing.assert_allclose(found, whole, atol=1e-6)
  resized = features.load("random", size=24, form="native")
  expected = jax.image.resize(jnp.asarray(pictures, jnp.float32) / 255, (5, 24, 24, 3), "bilinear")
  np.testing.assert_allclose(
    features.pooled_features(resized, pictures), net.apply(net.variables, expected).pooled, atol=1e-5
  )
  assert resized.card["resized to"] == 24


def test_missing_and_wrong_weights_get_one_line(monkeypatch, tmp_path):
  monkeypatch.setenv("VITA_DATA_DIR", str(tmp_path))
  for name in REAL:
    with pytest.raises(FileNotFoundError, match=rf"no weights of {name}: there is no .*npz under") as error:
      features.load(name)
    assert "\n" not in str(error.value) and f"load('{name}', 'FILE.npz')" in str(error.value)
  with pytest.raises(ValueError, match="did you mean 'mobilenet_v2'"):
    features.load("mobilenetv2")
  other = tmp_path / "other.npz"
  np.savez(other, a=np.zeros(3))
  with pytest.raises(ValueError, match="has no tensor '_bn0.weight': it is of another network"):
    features.load("efficientnet_lite0", other)
  with pytest.raises(ValueError, match="not of hed_vgg16: the file has an unknown tensor 'a'"):
    features.load("hed_vgg16", other)


def test_pictures_of_another_kind_are_refused():
  net = features.load("random")
  with pytest.raises(ValueError, match="divide by 255 first"):
    net.apply(net.variables, jnp.zeros((1, 8, 8, 3), jnp.uint8))
  with pytest.raises(ValueError, match=r"takes images \[n, h, w, 3\]"):
    net.apply(net.variables, jnp.zeros((1, 8, 8, 1)))
  with pytest.raises(ValueError, match="n at least 1"):
    features.pooled_features(net, np.zeros((0, 8, 8, 3)))
