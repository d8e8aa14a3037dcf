"""YOLO's networks from Darknet's files, against plain NumPy that reads the files by itself."""

import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data.files_darknet import floats
from vita_jax.nn import detectors
from vita_jax.nn.detectors import yolo

WIDTH = 1 / 16
SIZE = 64

# Darknet's .cfg files in short: filters,size,stride; R: route, S: shortcut, by distance or number.
CFG_2 = (
  "32,3,1 max 64,3,1 max 128,3,1 64,1,1 128,3,1 max 256,3,1 128,1,1 256,3,1 max"
  " 512,3,1 256,1,1 512,3,1 256,1,1 512,3,1 max 1024,3,1 512,1,1 1024,3,1 512,1,1 1024,3,1"
  " 1024,3,1 1024,3,1 R-9 64,1,1 reorg R-1,-4 1024,3,1 out"
)
DOWN_3 = "32,3,1" + "".join(
  f" {2 * half},3,2" + f" {half},1,1 {2 * half},3,1 S-3" * blocks
  for half, blocks in ((32, 1), (64, 2), (128, 8), (256, 8), (512, 4))
)
HEAD_3 = "{a},1,1 {b},3,1 {a},1,1 {b},3,1 {a},1,1 {b},3,1 out"
CFG_3 = " ".join(
  [
    DOWN_3,
    HEAD_3.format(a=512, b=1024),
    "yolo R-4 256,1,1 up R-1,61",
    HEAD_3.format(a=256, b=512),
    "yolo R-4 128,1,1 up R-1,36",
    HEAD_3.format(a=128, b=256),
    "yolo",
  ]
)


class Reader:
  """Takes numbers off the file one layer after the other."""

  def __init__(self, content, start):
    self.numbers, self.at = np.frombuffer(content, "<f4", offset=start), 0

  def take(self, *shape):
    count = int(np.prod(shape))
    found = self.numbers[self.at : self.at + count].reshape(shape).astype(np.float64)
    self.at += count
    return found


def _convolved(x, w, stride):
  """x [c, h, w], w [o, c, k, k], zero padding k // 2."""
  k, (height, width) = w.shape[-1], x.shape[1:]
  padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
  rows, columns = height // stride, width // stride
  y = np.zeros((w.shape[0], rows, columns))
  for i in range(k):
    for j in range(k):
      part = padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
      y += np.tensordot(w[:, :, i, j], part, 1)
  return y


def _reorg(x):
  c, h, w = x.shape
  return np.concatenate([x[:, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)])


def _run(cfg, reader, image, outputs):
  """The maps before each "yolo" (or the last), [outputs, h, w] each, of an image [3, h, w]."""
  layers, last = [], []
  x = image
  for word in cfg.split():
    if word == "max":
      x = np.max([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    elif word == "up":
      x = x.repeat(2, 1).repeat(2, 2)
    elif word == "reorg":
      x = _reorg(x)
    elif word[0] == "R":
      places = [int(n) for n in word[1:].split(",")]
      x = np.concatenate([layers[n if n >= 0 else len(layers) + n] for n in places])
    elif word[0] == "S":
      x = x + layers[int(word[1:])]
    elif word == "out":
      bias = reader.take(outputs)
      x = _convolved(x, reader.take(outputs, x.shape[0], 1, 1), 1) + bias[:, None, None]
      last.append(x)
    elif word != "yolo":
      filters, k, stride = (int(n) for n in word.split(","))
      filters = max(1, round(filters * WIDTH))
      bias, scale, mean, variance = reader.take(4, filters)[:, :, None, None]
      y = _convolved(x, reader.take(filters, x.shape[0], k, k), stride)
      y = (y - mean) / (np.sqrt(variance) + 1e-6) * scale + bias
      x = np.where(y > 0, y, 0.1 * y)
    layers.append(x)
  assert reader.at == len(reader.numbers)
  return last


def _weights(module, version):
  """A file of random weights that keep the maps of order 1."""
  rng = np.random.default_rng(0)
  parts = []
  for name, (h, w, inputs, outputs) in yolo.kernel_shapes(module).items():
    vectors = [rng.normal(size=outputs) * 0.1]
    if name.startswith("conv"):
      vectors += [
        rng.uniform(0.8, 1.2, outputs),
        rng.normal(size=outputs) * 0.1,
        rng.uniform(0.5, 1.5, outputs),
      ]
    parts += [*vectors, rng.normal(size=h * w * inputs * outputs) * (1.5 / (h * w * inputs)) ** 0.5]
  head = struct.pack("<3i", 0, version, 0) + struct.pack("<i" if version == 1 else "<q", 32)
  return head + np.concatenate(parts).astype("<f4").tobytes(), len(head)


def _as_outputs(maps, anchors):
  """[anchors of all maps, 85], cells row by row."""
  rows = [x.reshape(anchors, 85, -1).transpose(2, 0, 1).reshape(-1, 85) for x in maps]
  return np.concatenate(rows)


@pytest.mark.parametrize(
  ("module", "cfg", "anchors", "version"),
  [(yolo.YoloV2(WIDTH, form="top"), CFG_2, 5, 1), (yolo.YoloV3(WIDTH, form="top"), CFG_3, 3, 2)],
  ids=["yolov2", "yolov3"],
)
def test_a_network_is_that_of_plain_numpy(tmp_path, module, cfg, anchors, version):
  content, start = _weights(module, version)
  file = tmp_path / "toy.weights"
  file.write_bytes(content)
  image = np.random.default_rng(1).uniform(size=(SIZE, SIZE, 3)).astype(np.float32)
  expected = _as_outputs(_run(cfg, Reader(content, start), image.transpose(2, 0, 1), anchors * 85), anchors)
  params = yolo.read_weights(module, file)
  outputs = jax.jit(module.apply)({"params": params}, image[None])
  got = np.concatenate([outputs.sides[0], outputs.objects[0][:, None], outputs.classes[0]], axis=-1)
  assert np.abs(expected).max() > 0.3
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("module", "count"), [(yolo.YoloV2(), 50_983_561), (yolo.YoloV3(), 62_001_757)])
def test_files_have_the_known_length(module, count):
  """yolov2.weights has 203,934,260 bytes, yolov3.weights 248,007,048."""
  shapes = yolo.kernel_shapes(module)
  assert sum(floats(shape, name.startswith("conv_")) for name, shape in shapes.items()) == count


def test_both_ways_to_reorganize():
  x = np.arange(2 * 4 * 6 * 8, dtype=np.float32).reshape(2, 4, 6, 8)
  got = yolo.reorganize(jnp.asarray(x), how="space_to_depth")
  for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
    first = 8 * (2 * dy + dx)
    np.testing.assert_array_equal(got[..., first : first + 8], x[:, dy::2, dx::2])

  # Darknet: out[i] = in[j] over memory [c, h, w], as its loop over places has it.
  c, h, w = 8, 4, 6
  memory = x.transpose(0, 3, 1, 2).reshape(2, -1)
  expected = np.zeros_like(memory)
  for k in range(c):
    for j in range(h):
      for i in range(w):
        offset, c2 = divmod(k, c // 4)
        place = (2 * i + offset % 2) + 2 * w * (2 * j + offset // 2 + 2 * h * c2)
        expected[:, i + w * (j + h * k)] = memory[:, place]
  got = yolo.reorganize(jnp.asarray(x), how="darknet")
  np.testing.assert_array_equal(got.transpose(0, 3, 1, 2).reshape(2, -1), expected)
  with pytest.raises(ValueError, match="unknown reorg 'space'"):
    yolo.reorganize(jnp.asarray(x), how="space")


def test_boxes_by_hand():
  sides = np.zeros((1, 845, 4), np.float32)
  at = 5 * (13 * 6 + 4) + 2  # row 6, column 4, third anchor
  sides[0, at] = [0.0, np.log(3.0), 0.0, np.log(2.0)]
  outputs = yolo.Outputs(jnp.asarray(sides), jnp.zeros((1, 845)), jnp.zeros((1, 845, 80)))
  x, y, w, h = 4.5 * 32, 6.75 * 32, 3.33843 * 32, 2 * 5.47434 * 32
  expected = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
  np.testing.assert_allclose(jax.jit(yolo.boxes_2)(outputs)[0, at], expected, rtol=1e-5)
  np.testing.assert_allclose(yolo.person_scores_2(outputs), 0.5 / 80, rtol=1e-6)

  count = 3 * (13**2 + 26**2 + 52**2)
  zeros = yolo.Outputs(jnp.zeros((1, count, 4)), jnp.zeros((1, count)), jnp.zeros((1, count, 80)))
  found = jax.jit(yolo.boxes_3)(zeros)
  assert found.shape == (1, count, 4)
  np.testing.assert_allclose(found[0, 0], [16 - 58, 16 - 45, 16 + 58, 16 + 45], rtol=1e-6)
  np.testing.assert_allclose(found[0, -1], [412 - 16.5, 412 - 11.5, 412 + 16.5, 412 + 11.5], rtol=1e-6)
  np.testing.assert_allclose(yolo.person_scores_3(zeros), 0.25, rtol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path):
  content, _ = _weights(yolo.YoloV3(WIDTH), 2)
  file = tmp_path / "yolov3.weights"
  file.write_bytes(content)
  for name in ("yolov2", "yolov3"):
    with pytest.raises(ValueError, match="yolov3.weights holds .* numbers, and the network has"):
      detectors.load(name, file)


def test_without_a_file_the_message_says_that_there_is_none():
  with pytest.raises(FileNotFoundError, match=r"no weights of yolov2 come with the package: load\('yolov2'"):
    detectors.load("yolov2")
