"""ONNX files: the picture of the network in onnxruntime, and integer weights that are really there."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress.integer import sub_pixel_kernel
from vita_jax.compress.onnx_files import KINDS, onnx_model, open_onnx, write_onnx
from vita_jax.compress.quantize import Quant
from vita_jax.nn.conv import convolve_transposed
from vita_jax.nn.gan import ResnetGenerator, resnet_widths
from vita_jax.nn.layers import Layer, output_padding
from vita_jax.nn.picture_programs import load_pictures


@pytest.mark.parametrize(("k", "stride", "padding"), [(3, 2, 1), (4, 2, 1), (5, 3, 1), (2, 2, 0)])
def test_a_transposed_convolution_is_a_convolution_and_depth_to_space(k, stride, padding):
  rng = np.random.default_rng(0)
  layer = Layer("a", 3, 2, k, stride, padding, transposed=True)
  x = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
  kernel = rng.normal(size=(k, k, 3, 2)).astype(np.float32)
  wide, before, after = sub_pixel_kernel(layer, kernel)
  y = jax.lax.conv_general_dilated(
    x, wide, (1, 1), [(before, after)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  y = np.asarray(y).reshape(2, 4, 5, stride, stride, 2).transpose(0, 1, 3, 2, 4, 5)
  wanted = convolve_transposed(
    x, kernel, stride=stride, padding=padding, output_padding=output_padding(layer), form="native"
  )
  np.testing.assert_allclose(y.reshape(wanted.shape), wanted, atol=1e-5)


def test_without_onnx_the_remedy_is_named(resnet, monkeypatch):
  net, params, _ = resnet
  monkeypatch.setitem(sys.modules, "onnx", None)
  with pytest.raises(ImportError, match=r"ONNX files need the package onnx: pip install 'vita_jax\[onnx\]'"):
    onnx_model(net, {"params": params})
  monkeypatch.setitem(sys.modules, "onnxruntime", None)
  with pytest.raises(
    ImportError, match=r"net.onnx needs the package onnxruntime: pip install 'vita_jax\[onnx\]'"
  ):
    open_onnx("net.onnx")


def test_files_that_are_no_onnx_are_refused_in_one_line(tmp_path):
  pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'vita_jax[onnx]'")
  (tmp_path / "net.onnx").write_bytes(b"no network")
  with pytest.raises(ValueError, match="net.onnx is not an ONNX file that onnxruntime reads: ") as caught:
    open_onnx(tmp_path / "net.onnx")
  assert "\n" not in str(caught.value)
  with pytest.raises(FileNotFoundError, match="no file"):
    open_onnx(tmp_path / "other.onnx")


def test_an_unknown_kind_is_refused(resnet):
  net, params, _ = resnet
  with pytest.raises(ValueError, match="did you mean 'qdq'"):
    onnx_model(net, {"params": params}, kind="qd")


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_another_generator_are_refused_in_every_kind(kind, resnet):
  """The parameters of the dense network make a file of the dense network."""
  pytest.importorskip("onnx", reason="onnx is not installed: pip install 'vita_jax[onnx]'")
  net, params, _ = resnet
  net = net.clone(quant=None if kind == "float32" else Quant())
  for other, given, message in (
    (
      net.resized({"stem": 2}),
      {"params": params},
      r"'stem/kernel' must be \(7, 7, 3, 2\), and is \(7, 7, 3, 4\)",
    ),
    (net.resized({"block_0_a": 0}), {"params": params}, "it has no 'block_0_a/bias'"),
    (net, params, 'the variables have no collection "params"'),
  ):
    with pytest.raises(ValueError, match=message):
      onnx_model(other, given, kind=kind)


def test_pictures_of_one_channel_are_opened_and_are_no_pictures_of_three(tmp_path):
  pytest.importorskip("onnx", reason="onnx is not installed: pip install 'vita_jax[onnx]'")
  pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'vita_jax[onnx]'")
  layer, path = Layer("a", 1, 1, 1), tmp_path / "net.onnx"
  params = {"a": {"kernel": np.full((1, 1, 1, 1), 2.0), "bias": np.ones(1)}}
  write_onnx(path, SimpleNamespace(layers=(layer,), quant=None), {"params": params})
  images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4, 1)).astype(np.float32)
  np.testing.assert_allclose(open_onnx(path)(images), 2 * images + 1, atol=1e-6)
  with pytest.raises(ValueError, match=r"takes 'image' .* it must take float32 pictures \[n, 3, h, w\]"):
    load_pictures(path)


def test_int8_files_are_at_most_0_3_of_float32(tmp_path):
  pytest.importorskip("onnx", reason="onnx is not installed: pip install 'vita_jax[onnx]'")
  net = ResnetGenerator(resnet_widths(32, 4), quant=Quant())
  shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
  params = jax.tree.map(lambda x: np.full(x.shape, 0.5, np.float32), shapes)
  assert sum(x.size for x in jax.tree.leaves(params)) > 1_000_000
  sizes = {kind: write_onnx(tmp_path / f"{kind}.onnx", net, {"params": params}, kind=kind) for kind in KINDS}
  assert sizes["qdq"] <= 0.30 * sizes["float32"] and sizes["integer"] <= 0.30 * sizes["float32"]
  assert sizes["qdq"] == (tmp_path / "qdq.onnx").stat().st_size


@pytest.mark.parametrize("name", ["resnet", "cartoon"])
def test_onnxruntime_gives_the_same_picture(name, images, request, tmp_path):
  """The levels are those of training; rounding in norms moves single ones at most."""
  pytest.importorskip("onnx", reason="onnx is not installed: pip install 'vita_jax[onnx]'")
  pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'vita_jax[onnx]'")
  net, params, _ = request.getfixturevalue(name)
  for quant, kinds in (
    (None, ("float32",)),
    (Quant(per_channel=True), ("qdq", "integer")),
    (Quant(4, 4), ("qdq",)),
  ):
    wanted = jax.jit(net.clone(quant=quant).apply)({"params": params}, images)
    for kind in kinds:
      write_onnx(tmp_path / "net.onnx", net.clone(quant=quant), {"params": params}, kind=kind)
      found = open_onnx(tmp_path / "net.onnx")(images)
      if quant is None:
        np.testing.assert_allclose(found, wanted, atol=1e-4)
      else:
        assert np.mean((found - wanted) ** 2) < 1e-5 * 4  # PSNR above 50 dB, of a range of 2
