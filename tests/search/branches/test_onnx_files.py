"""A derived network's ONNX file computes what the network does, with every operation and transfer in it."""

import jax
import numpy as np
import pytest

from vita_jax.nn.resnet import preprocessed
from vita_jax.search import OPERATIONS
from vita_jax.search.branches import Shape, Space, derived, network_of, preset
from vita_jax.search.branches.onnx_files import write_onnx
from vita_jax.search.branches.space import on_host

onnxruntime = pytest.importorskip("onnxruntime")
SPACE, SHAPE = Space(2, 2, 1), Shape(channels=3, stem=4, outputs=5, size=(32, 16), stride=2)
# All operations in two cells; node 3 of the first has no edge but one.
CELLS = np.array(
  [
    [OPERATIONS.index(k) for k in row]
    for row in (
      ("sep_3", "max_pool", "zero", "sep_5", "zero", "skip"),
      ("conv_3", "avg_pool", "dil_3", "zero", "zero", "zero"),
    )
  ]
)


@pytest.mark.parametrize("cells", [CELLS, None], ids=["searched", "plain"])
def test_a_file_computes_what_the_network_does(cells, tmp_path):
  net = derived(on_host(network_of(SPACE, preset(SPACE, "all_edges"))), cells, SHAPE)
  image = np.random.default_rng(0).random((2, 32, 16, 3), np.float32)
  shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), image)
  rng = np.random.default_rng(1)  # drawn, statistics too: nothing is 0 or 1

  def draw(path, x):
    name = path[-1].key
    if name in ("var", "scale"):
      return rng.uniform(0.5, 2, x.shape).astype(np.float32)
    return (0.3 * rng.normal(size=x.shape)).astype(np.float32)

  variables = jax.tree_util.tree_map_with_path(draw, shapes)
  wanted = np.asarray(jax.jit(net.apply)(variables, preprocessed(image)))
  size = write_onnx(tmp_path / "net.onnx", net, variables["params"], variables["batch_stats"])
  assert size == (tmp_path / "net.onnx").stat().st_size
  session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
  (maps,) = session.run(None, {"image": image.transpose(0, 3, 1, 2)})
  np.testing.assert_allclose(maps.transpose(0, 2, 3, 1), wanted, atol=1e-4 * np.abs(wanted).max())
