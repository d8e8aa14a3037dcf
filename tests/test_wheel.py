"""The wheel, installed in a new environment outside the checkout, has everything that a user needs."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECK = """
import json, jax, jax.numpy as jnp, vita_jax
names = vita_jax.optim.learned_names()
tx, x = vita_jax.optim.learned(names[0]), jnp.ones(3)
moved = float(jnp.abs(tx.update(x, tx.init(x), x)[0]).max())
graph = vita_jax.data.load_graph("citeseer")
print(json.dumps({"file": vita_jax.__file__, "nodes": len(graph.labels), "learned": names, "moved": moved}))
"""


def _run(*command, **options):
  done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
  assert done.returncode == 0, done.stderr[-2000:]
  return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  folder = tmp_path_factory.mktemp("wheel")
  _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
  (found,) = folder.glob("vita_jax-*.whl")
  return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
  """The folder `bin` of a new environment that has the wheel, and where it was installed."""
  folder = tmp_path_factory.mktemp("env")
  venv.create(folder, with_pip=False)
  site = next(folder.glob("lib/python*/site-packages"))
  # The dependencies are those of the running environment; an editable vita_jax there is not found this way.
  (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
  pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
  _run(*pip, "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
  return folder / "bin", site


@pytest.fixture
def outside(tmp_path, monkeypatch):
  """A folder outside the checkout, and no way back to it."""
  monkeypatch.delenv("PYTHONPATH", raising=False)
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_the_wheel_has_the_scripts_and_configs_and_no_package_of_a_common_name(wheel):
  assert wheel.stat().st_size < 15e6
  names = set(zipfile.ZipFile(wheel).namelist())
  assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"vita_jax"}
  for folder in ("launch", "configs"):
    every = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    found = [path for path in every if "__pycache__" not in path.parts]
    assert found and {f"vita_jax/{path.relative_to(ROOT)}" for path in found} <= names
  modules = {str(path.relative_to(ROOT)) for path in (ROOT / "vita_jax").rglob("*.py")}
  assert modules <= names and "vita_jax/py.typed" in names


def test_the_package_works_outside_the_checkout(installed, outside):
  programs, site = installed
  found = json.loads(_run(programs / "python", "-c", CHECK, cwd=outside).splitlines()[-1])
  assert Path(found["file"]).is_relative_to(site)
  assert found["nodes"] == 3327
  assert "rnnprop-cl-il" in found["learned"] and 0 < found["moved"] < 1


def test_the_command_vita_trains_outside_the_checkout(installed, outside):
  command = (installed[0] / "vita", "train", "--config=ss_gcn/citeseer.py:none", "--workdir=W")
  assert "l2o/optimize" in _run(installed[0] / "vita")
  explained = _run(*command[:3], "--explain", cwd=outside)
  assert "log_every" in explained and not (outside / "W").exists()
  printed = _run(*command, "--config.epochs=2", cwd=outside)
  assert "complete: ss_gcn" in printed
  assert json.loads((outside / "W" / "summary.json").read_text())["complete"] is True
