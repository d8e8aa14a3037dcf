"""launch/predict.py and launch/export.py: a user's own graph, and a program that needs no vita_jax."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from launch.commands import environment, launch, succeeded, training
from vita_jax import papers
from vita_jax.papers.ss_gcn.model import HOSTS
from vita_jax.train.finish import read_config
from vita_jax.train.weights import load_params

# Stands before and after the code of the README, in its folder.
BEFORE = """
import json, sys
import numpy as np
with np.load("inputs.npz") as file:
  my_inputs = dict(file)
"""
AFTER = """
assert not [name for name in sys.modules if name.startswith(("vita_jax", "flax", "jraph", "orbax"))]
np.savez("outputs.npz", **{name: np.asarray(x) for name, x in outputs.items()})
"""


@pytest.fixture(
  scope="module", params=["gcn", *(pytest.param(host, marks=pytest.mark.slow) for host in ("gin", "gat"))]
)
def run(request, graph, tmp_path_factory):
  """(host, workdir) of a finished run of one seed, exported."""
  workdir = tmp_path_factory.mktemp(request.param)
  flags = training(graph, workdir, host=request.param, epochs=25, seed=3)
  succeeded(launch("train", *flags))
  succeeded(launch("export", f"--workdir={workdir}"))
  return request.param, workdir


def _predict(workdir, data, out):
  succeeded(launch("predict", f"--workdir={workdir}", f"--data={data}", f"--out={out}"))
  with np.load(out) as file:
    return dict(file)


def _inputs(path):
  """The inputs that card.json describes, made by hand."""
  with np.load(path) as arrays:
    edges, features = np.unique(np.sort(arrays["edges"]), axis=0), arrays["features"]
  assert (edges[:, 0] < edges[:, 1]).all()  # the small graphs have no self-loops
  return {
    "features": features.astype(np.float32),
    "edges": edges.astype(np.int32),
    "edge_weight": np.ones(len(edges), np.float32),
    "self_loops": np.zeros(len(features), np.float32),
  }


def _tree(flat):
  tree = {}
  for name, leaf in flat.items():
    *parents, last = name.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree


def _own_probabilities(host, workdir):
  """The model on the batch it was trained on: sparse features, the training's own propagation."""
  experiment = papers.build(read_config(workdir))
  batch = experiment.evals["test"].data.arrays
  params = _tree(load_params(workdir / "export" / "params.safetensors"))
  inputs = (batch["features"], batch["graph"], "full", None)
  outputs = HOSTS[host](n_classes=3).apply({"params": params}, *inputs)
  return jax.nn.softmax(outputs["target"])


def _run_the_readme(folder):
  """Follows the README of an export in a process that knows nothing of this repository."""
  lines = (folder / "README.md").read_text().splitlines()
  code = "\n".join(line.strip() for line in lines if line.startswith("    "))
  assert len(code.splitlines()) == 5 and len(lines) <= 8
  done = subprocess.run(
    [sys.executable, "-c", BEFORE + code + AFTER],
    cwd=folder,
    capture_output=True,
    text=True,
    timeout=600,
    env=environment(PYTHONPATH=None),
  )
  assert done.returncode == 0, done.stderr[-3000:]
  with np.load(folder / "outputs.npz") as file:
    return dict(file)


def test_predict_is_the_models_own_output(run, unlabelled, tmp_path):
  host, workdir = run
  found = _predict(workdir, unlabelled, tmp_path / "P.npz")
  assert found.keys() == {"labels", "probabilities"}
  assert found["labels"].dtype == np.int32 and found["probabilities"].shape == (120, 3)
  np.testing.assert_allclose(found["probabilities"].sum(1), 1, atol=1e-6)
  np.testing.assert_array_equal(found["labels"], found["probabilities"].argmax(1))
  np.testing.assert_allclose(found["probabilities"], _own_probabilities(host, workdir), atol=1e-5)


def test_the_export_is_described_and_runs_without_vita_jax_on_any_graph(run, unlabelled, another, tmp_path):
  _, workdir = run
  card = json.loads((workdir / "export" / "card.json").read_text())
  assert card["seed"] == 3 and card["trained on"]["labelled nodes"] == 30
  assert {p.name for p in (workdir / "export").iterdir()} == {
    "params.safetensors",
    "program.jax",
    "config.json",
    "card.json",
    "README.md",
  }
  shutil.copytree(workdir / "export", folder := tmp_path / "elsewhere")
  predicted = _predict(workdir, another, tmp_path / "P.npz")
  np.savez(folder / "inputs.npz", **_inputs(another))
  found = _run_the_readme(folder)
  assert found["probabilities"].shape == (99, 3)
  np.testing.assert_array_equal(found["labels"], predicted["labels"])
  np.testing.assert_allclose(found["probabilities"], predicted["probabilities"], atol=1e-5)
