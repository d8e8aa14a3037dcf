"""The door: every detector has one face, and what does not fit is refused in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vita_jax
from vita_jax.data.files import read_safetensors
from vita_jax.data.sources import SHIPPED
from vita_jax.nn import detectors
from vita_jax.nn.detectors import detector as door
from vita_jax.nn.detectors import weights

WITH_FILES = ("movenet_lightning", "movenet_thunder", "nanodet", "ssd_mobilenetv2")
FILE = SHIPPED / "detectors" / "nanodet.safetensors"


@pytest.fixture
def closed(monkeypatch, tmp_path):
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def test_it_is_reached_by_attribute():
  assert vita_jax.nn.detectors.load is detectors.load
  assert set(WITH_FILES) < set(detectors.NAMES)


@pytest.mark.parametrize("name", WITH_FILES)
def test_every_detector_has_the_same_face(name, published):
  if name != "nanodet":
    published(f"detectors/{name}")
  found = detectors.load(name)
  assert found.name == name and all(x.dtype == jnp.float32 for x in jax.tree.leaves(found.variables))
  images = jax.ShapeDtypeStruct((2, found.size, found.size, 3), jnp.float32)
  scores, boxes = jax.eval_shape(found.detect, found.variables, images)
  assert scores.shape[0] == 2 and boxes.shape == (*scores.shape, 4)


def test_images_of_another_kind_are_refused(closed):
  found = detectors.load("nanodet")
  for images, message in (
    (jnp.zeros((1, 415, 416, 3)), r"nanodet takes images \[n, 416, 416, 3\], not \(1, 415, 416, 3\)"),
    (jnp.zeros((416, 416, 3)), r"not \(416, 416, 3\): resize them first"),
    (jnp.zeros((1, 416, 416, 3), jnp.uint8), r"floating images in \[0, 1\], not uint8: divide by 255 first"),
  ):
    with pytest.raises(ValueError, match=message):
      found.detect(found.variables, images)


def test_it_lowers_for_accelerators(closed):
  found = detectors.load("nanodet")
  images = jax.ShapeDtypeStruct((1, found.size, found.size, 3), jnp.float32)
  program = jax.jit(jax.grad(lambda x, v: jnp.sum(found.scores(v, x))))
  exported = jax.export.export(program, platforms=("cuda", "tpu"))(images, found.variables)
  assert "conv" in str(exported.mlir_module())


def test_what_is_not_there_names_the_remedy(closed, tmp_path):
  with pytest.raises(FileNotFoundError, match="movenet-lightning.json under .*--dataset=detectors/movenet"):
    detectors.load("movenet_lightning")
  with pytest.raises(FileNotFoundError, match="no weights of nanodet: there is no folder"):
    detectors.load("nanodet", tmp_path / "nowhere")
  with pytest.raises(FileNotFoundError, match="there is no params.safetensors and no nanodet.json in"):
    detectors.load("nanodet", tmp_path)
  with pytest.raises(ValueError, match="unknown detector 'nanodat': did you mean 'nanodet'"):
    detectors.load("nanodat")


def test_other_weights_are_refused(closed, tmp_path):
  (tmp_path / "params.safetensors").write_bytes(FILE.read_bytes())
  detectors.load("nanodet", tmp_path)
  with pytest.raises(ValueError, match="not of ssd_mobilenetv2: the file has no tensor 'class"):
    detectors.load("ssd_mobilenetv2", tmp_path)
  params = read_safetensors(FILE)
  params["stem/kernel"] = params["stem/kernel"][:, :, :, :5]
  weights.write(params, tmp_path)
  with pytest.raises(ValueError, match=r"'stem/kernel' is \(3, 3, 3, 5\), not \(3, 3, 3, 32\)"):
    detectors.load("nanodet", tmp_path)
  params = read_safetensors(FILE)
  params["stem/bias"] = np.full(32, np.nan, np.float16)
  weights.write(params, tmp_path)
  with pytest.raises(ValueError, match="the weights of nanodet are damaged: 'stem/bias' is not finite"):
    detectors.load("nanodet", tmp_path)
  weights.write({"stem": np.ones(3), "stem/kernel": np.ones(3)}, tmp_path)  # a name that is a layer, too
  with pytest.raises(ValueError, match="these weights are not of nanodet: the file has"):
    detectors.load("nanodet", tmp_path)
  (tmp_path / "params.safetensors").write_bytes(FILE.read_bytes()[:1000])
  with pytest.raises(ValueError, match="is not a readable safetensors file"):
    detectors.load("nanodet", tmp_path)


def test_prepared_weights_are_found_and_rounded_nowhere(closed, tmp_path, monkeypatch):
  params = read_safetensors(FILE)
  params["stem/bias"] = np.full(32, 1 / 3, np.float32)  # no float16 number
  weights.write(params, tmp_path / "tfds" / "detectors" / "nanodet")
  monkeypatch.setattr(weights, "SOURCES", {})  # nothing ships
  found = detectors.load("nanodet").variables["params"]
  np.testing.assert_array_equal(found["stem"]["bias"], np.full(32, 1 / 3, np.float32))
  np.testing.assert_array_equal(found["stem"]["kernel"], params["stem/kernel"].astype(np.float32))


def test_preparing_gives_what_ships(published, tmp_path):
  published("detectors/nanodet")
  folder = door.prepare("nanodet", tmp_path / "nanodet")
  assert (folder / "params.safetensors").read_bytes() == FILE.read_bytes()
