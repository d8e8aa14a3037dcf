"""The hosts beside PyTorch Geometric: values and gradients, directed and undirected, weighted and not.

The numbers are in fixtures/hosts.npz, made by the script beside it; `make parity` asks the library itself.
"""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest

from vita_jax.papers.ss_gcn.model import HOSTS

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def arrays():
  with np.load(FIXTURES / "hosts.npz") as file:
    return dict(file)


def _graph(arrays, kind, *, weighted):
  senders, receivers = arrays[f"{kind}_edges"].T
  return jraph.GraphsTuple(
    nodes=None,
    edges=arrays[f"{kind}_weight"] if weighted else None,
    senders=senders,
    receivers=receivers,
    globals=None,
    n_node=np.array([len(arrays["x"])]),
    n_edge=np.array([len(senders)]),
  )


def _params(arrays, name, host):
  """The parameters of a host that has the fixture's; what takes no part in the output compared is zero."""
  model = HOSTS[host](n_classes=3)
  graph = _graph(arrays, "both", weighted=False)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), arrays["x"], graph, "full", None))
  params = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)["params"]
  params["input"] = {"kernel": arrays[f"{name}_0"]}
  if host == "gcn":
    params["target"] = {"kernel": arrays[f"{name}_1"]}
  elif host == "gin":
    params["epsilon"] = jnp.array([0.3, 0.0])
  else:
    params["attention_1"] = arrays[f"{name}_attention"]
  return model, params


@pytest.mark.parametrize("kind", ["both", "one"])
@pytest.mark.parametrize("host", ["gcn", "gcn_plain", "gin", "gat"])
def test_values_and_gradients(arrays, kind, host):
  name, host = f"{kind}_{host}", host.removesuffix("_plain")
  model, params = _params(arrays, name, host)
  graph = _graph(arrays, kind, weighted=name.endswith("gcn"))

  @jax.jit
  def run(kernel):
    full = {"params": {**params, "input": {"kernel": kernel}}}
    output = model.apply(full, arrays["x"], graph, "full", None)["target" if host == "gcn" else "hidden"]
    return jnp.sum(jnp.sin(output)), output

  (_, output), gradient = jax.value_and_grad(run, has_aux=True)(arrays[f"{name}_0"])
  np.testing.assert_allclose(output, arrays[f"{name}_output"], atol=2e-6)
  np.testing.assert_allclose(gradient, arrays[f"{name}_gradient"], atol=2e-5)


@pytest.mark.parity
def test_the_fixture_is_what_the_library_gives():
  pytest.importorskip("torch_geometric")
  done = subprocess.run(
    [sys.executable, FIXTURES / "make_hosts.py", "--check"], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr[-2000:]
