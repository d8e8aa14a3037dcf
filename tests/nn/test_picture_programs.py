"""Functions of pictures loaded from files: those of exports and of torch compute what was exported."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nn.small_export import GENERATOR, variables, write_small_export

from vita_jax.nn.picture_programs import FLOAT, INT8, load_pictures
from vita_jax.train.weights import save_params

IMAGES = np.random.default_rng(0).uniform(-1, 1, (1, 20, 24, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run") / "export"
  return folder, write_small_export(folder)


def test_a_folder_a_run_and_a_file_of_an_export_give_its_program(export):
  folder, (expected, _) = export
  for path in (folder, folder.parent, folder / "params.safetensors", folder / "program.jax"):
    np.testing.assert_allclose(load_pictures(path)(IMAGES), expected(IMAGES), atol=1e-5)


def test_int8_is_the_program_of_integers(export):
  folder, (expected, integer) = export
  found = load_pictures(folder, int8=True)(IMAGES)
  np.testing.assert_allclose(found, integer(IMAGES), atol=1e-5)
  assert np.abs(found - expected(IMAGES)).max() > 1e-3


def test_a_program_may_take_and_give_bare_images(tmp_path):
  shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape("n, 4*h, 4*w, 3"), jnp.float32)
  weights = {"a": jax.ShapeDtypeStruct((3,), jnp.float32)}
  program = jax.export.export(jax.jit(lambda params, images: images * params["a"]))(weights, shape)
  (tmp_path / "program.jax").write_bytes(program.serialize())
  save_params(tmp_path / "params.safetensors", {"a": np.float32([0.5, 1, -1])})
  np.testing.assert_array_equal(load_pictures(tmp_path)(IMAGES), IMAGES * np.float32([0.5, 1, -1]))


def test_weights_of_torch_are_a_model(tmp_path):
  params = variables(1)["params"]
  places = {"stem": "1", "down_0": "4", "down_1": "7", "block_0_a": "10.conv_block.1"}
  places |= {"block_0_b": "10.conv_block.5", "up_0": "11", "up_1": "14", "head": "18"}
  state = {}
  for layer in GENERATOR.layers:
    place, own = f"model.{places[layer.name]}", params[layer.name]
    order = (2, 3, 0, 1) if layer.transposed else (3, 2, 0, 1)
    state |= {f"{place}.weight": np.transpose(own["kernel"], order), f"{place}.bias": own["bias"]}
  save_params(tmp_path / "net.safetensors", state)
  found = load_pictures(tmp_path / "net.safetensors")(IMAGES)
  np.testing.assert_allclose(found, GENERATOR.apply({"params": params}, IMAGES), atol=1e-5)


def test_an_onnx_file_is_a_model_where_onnxruntime_is(export, tmp_path):
  pytest.importorskip("onnx")
  pytest.importorskip("onnxruntime")
  from vita_jax.compress import write_onnx

  write_onnx(tmp_path / "model.onnx", GENERATOR, variables())
  np.testing.assert_allclose(load_pictures(tmp_path / "model.onnx")(IMAGES), export[1][0](IMAGES), atol=1e-4)


def test_what_is_no_model_gets_one_clear_line(export, tmp_path):
  folder, _ = export
  with pytest.raises(FileNotFoundError, match="no file"):
    load_pictures(tmp_path / "gone.onnx")
  with pytest.raises(FileNotFoundError, match=r"has no program_int8.jax and int8.safetensors"):
    load_pictures(tmp_path, int8=True)
  with pytest.raises(ValueError, match="int8 needs the folder"):
    load_pictures(folder / "params.safetensors", int8=True)
  (tmp_path / "notes.txt").write_text("hello")
  with pytest.raises(ValueError, match="is no model"):
    load_pictures(tmp_path / "notes.txt")
  (tmp_path / "program.jax").write_bytes(b"not a program")
  save_params(tmp_path / "params.safetensors", {"a": np.zeros(1, np.float32)})
  with pytest.raises(ValueError, match="is not an exported program of pictures"):
    load_pictures(tmp_path)
  (tmp_path / "program.jax").write_bytes((folder / FLOAT[0]).read_bytes())
  with pytest.raises(ValueError, match=r"params.safetensors does not fit program.jax: 'a' is not the same"):
    load_pictures(tmp_path)
  (tmp_path / INT8[1]).write_bytes(b"")
  (tmp_path / "x.onnx").write_bytes(b"nothing")
  if importlib.util.find_spec("onnxruntime") is None:
    with pytest.raises(ImportError, match="needs the package onnxruntime: pip install"):
      load_pictures(tmp_path / "x.onnx")
  else:
    with pytest.raises(ValueError, match="is not an ONNX file that onnxruntime reads"):
      load_pictures(tmp_path / "x.onnx")
