"""What a device holds of weights and optimizer state under the sharding rules of `wide`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from vita_jax.train.mesh import use_cpu_devices
layout, shard = json.loads(sys.argv[1]), sys.argv[2]
use_cpu_devices(layout["model"] * layout["data"])
from multiprocess import wide
from vita_jax.train.dry_run import dry_run
config = wide.ROW.config(None)
config.update({"shard": shard, "mesh": {"seed": 1, **layout}})
(need,) = dry_run(wide.build(config), config)
print(json.dumps({"params": need.state["params"], "tx": need.state["tx"], "flops": need.flops}))
"""


def _need(shard, **layout):
  root = Path(__file__).parents[2]
  path = os.pathsep.join([str(root), str(root / "tests")])
  command = [sys.executable, "-c", SCRIPT, json.dumps(layout), shard]
  done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads(done.stdout)


@pytest.mark.parametrize(
  ("shard", "layout"),
  [
    ("model", {"model": 4, "data": 1}),
    pytest.param("fully", {"model": 1, "data": 4}, marks=pytest.mark.slow),
  ],
)
def test_a_device_holds_its_share_of_the_weights_and_of_adams_moments(shard, layout):
  whole, share = _need("none", model=1, data=1), _need(shard, **layout)
  # 64 x 512 and 512 x 10 weights and 512 biases are cut; 10 biases and a counter are not.
  assert whole["params"] == 4 * (64 * 512 + 512 + 512 * 10 + 10)
  assert share["params"] == 4 * ((64 * 512 + 512 + 512 * 10) // 4 + 10)
  assert whole["tx"] - 4 == 2 * whole["params"] and share["tx"] - 4 == 2 * share["params"]
  assert share["flops"] < 0.5 * whole["flops"]
