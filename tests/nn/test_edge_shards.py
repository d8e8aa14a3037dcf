"""Propagation over several devices equals that on one: on Citeseer, values and gradients."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vita_jax.nn.edge_shards import edge_shards
from vita_jax.nn.graph import adjacency


def _small(pad_multiple=4):
  edges = np.array([[0, 1], [0, 2], [1, 4], [2, 3], [3, 4], [0, 5]])
  return adjacency(edges, [2], 6, pad_multiple=pad_multiple)


def test_shards_hold_each_edge_once_with_its_reverse():
  graph = _small()
  shards = edge_shards(graph, 4)
  rows = shards.row_starts.shape[1] - 1
  real = shards.receivers < rows
  assert sorted(shards.edge[real]) == list(range(len(graph.senders)))
  np.testing.assert_array_equal(graph.senders[shards.edge[real]], shards.senders[real])
  owner = np.broadcast_to(np.arange(4)[:, None], real.shape)
  np.testing.assert_array_equal(graph.receivers[shards.edge[real]], (shards.receivers + owner * rows)[real])
  np.testing.assert_array_equal(graph.senders[shards.reverse[real]], (shards.receivers + owner * rows)[real])
  for k in range(4):
    np.testing.assert_array_equal(
      np.bincount(shards.receivers[k][real[k]], minlength=rows), np.diff(shards.row_starts[k])
    )


def test_a_graph_that_does_not_divide_is_refused():
  with pytest.raises(ValueError, match="6 nodes do not divide into 4 shards: .*pad_multiple=4"):
    edge_shards(_small(pad_multiple=1), 4)


@pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_citeseer_on_several_devices_equals_one(n):
  script = Path(__file__).with_name("on_shards.py")
  path = os.pathsep.join([str(script.parents[2]), os.environ.get("PYTHONPATH", "")])
  done = subprocess.run(
    [sys.executable, script, str(n)],
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": path},
    timeout=300,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  found = json.loads(done.stdout)
  assert found["devices"] == n and found["sharded"] and found["gathers"] == 1
  assert found["value"] < 1e-6 and found["gradient"] < 1e-6, found
