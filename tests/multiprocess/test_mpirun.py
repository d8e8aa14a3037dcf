"""The Open MPI template, where mpirun is installed."""

import shutil
import subprocess
import sys

import pytest
from launch.commands import ROOT, environment, training
from laws.small_graph import write_small_graph


@pytest.mark.skipif(not shutil.which("mpirun"), reason="mpirun is not installed (Debian: openmpi-bin)")
def test_the_template_trains_one_run_over_two_processes(tmp_path):
  graph = write_small_graph(tmp_path / "graph.npz")
  layout = ["--cpu_devices=2", "--config.mesh.seed=4", "--config.mesh.data=1", "--config.seeds=4"]
  command = ["launch/cluster/mpirun.sh", "2", *training(graph, tmp_path / "run", epochs=12), *layout]
  as_root = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe")
  env = environment(PYTHON=sys.executable, **dict.fromkeys(as_root, "1"))
  done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stderr[-3000:]
  assert done.stdout.count("complete: ss_gcn, 4 seed(s)") == 1
  assert (tmp_path / "run" / "summary.json").exists()
