"""Darknet's weight files: what was written comes back, folded; other lengths are refused."""

import struct

import numpy as np
import pytest

from vita_jax.data.files_darknet import header_bytes, read_darknet

KERNELS = {"conv_0": (3, 3, 2, 4), "out_1": (1, 1, 4, 5)}
NORMALIZED = {"conv_0": True, "out_1": False}


def _write(path, numbers, version=(0, 2, 0)):
  seen = struct.pack("<q" if version[0] * 10 + version[1] >= 2 else "<i", 1)
  path.write_bytes(struct.pack("<3i", *version) + seen + np.asarray(numbers, "<f4").tobytes())


@pytest.fixture
def numbers():
  rng = np.random.default_rng(0)
  vectors = rng.uniform(0.5, 2.0, (4, 4))
  return np.concatenate([vectors.ravel(), rng.normal(size=72), rng.normal(size=5), rng.normal(size=20)])


@pytest.mark.parametrize(("version", "length"), [((0, 1, 0), 16), ((0, 2, 5), 20), ((1, 0, 0), 20)])
def test_batch_norm_is_folded(tmp_path, numbers, version, length):
  file = tmp_path / "toy.weights"
  _write(file, numbers, version)
  assert header_bytes(file) == length
  found = read_darknet(file, KERNELS, NORMALIZED)
  bias, scale, mean, variance = numbers[:16].reshape(4, 4)
  kernel = numbers[16:88].reshape(4, 2, 3, 3)
  x = np.random.default_rng(1).normal(size=(2, 3, 3))
  plain = np.einsum("oihw,ihw->o", kernel, x)
  expected = (plain - mean) / (np.sqrt(variance) + 1e-6) * scale + bias
  got = np.einsum("hwio,ihw->o", found["conv_0"]["kernel"], x) + found["conv_0"]["bias"]
  np.testing.assert_allclose(got, expected, rtol=1e-5)
  np.testing.assert_allclose(found["out_1"]["bias"], numbers[88:93], rtol=1e-6)
  np.testing.assert_allclose(found["out_1"]["kernel"][0, 0].T, numbers[93:].reshape(5, 4), rtol=1e-6)


def test_other_lengths_are_refused(tmp_path, numbers):
  file = tmp_path / "toy.weights"
  for content in (numbers[:-1], [*numbers, 0.0]):
    _write(file, content)
    with pytest.raises(
      ValueError, match=f"holds {len(content)} numbers, and the network has 113: it is trunc"
    ):
      read_darknet(file, KERNELS, NORMALIZED)
  file.write_bytes(b"short")
  with pytest.raises(ValueError, match="is not a Darknet weight file: it has 5 bytes"):
    read_darknet(file, KERNELS, NORMALIZED)
  with pytest.raises(FileNotFoundError, match="no file"):
    read_darknet(tmp_path / "nowhere.weights", KERNELS, NORMALIZED)


@pytest.mark.parametrize(("place", "value"), [(12, -1.0), (20, np.nan), (90, np.inf)])
def test_damaged_numbers_are_refused(tmp_path, numbers, place, value):
  numbers[place] = value
  _write(tmp_path / "toy.weights", numbers)
  with pytest.raises(ValueError, match="is damaged: '(conv_0|out_1)' is not finite"):
    read_darknet(tmp_path / "toy.weights", KERNELS, NORMALIZED)
