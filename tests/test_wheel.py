"""The wheel, installed in a new environment outside the checkout, has everything that an import needs."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECK = """
import json, jax, jax.numpy as jnp, vita_jax
from vita_jax import papers
from vita_jax.data import load_graph
from vita_jax.papers.ss_gcn.recipe import default_config
graph = load_graph("citeseer")
stage = papers.build(default_config("citeseer", "none", {})).stages[0]
names = vita_jax.optim.learned_names()
tx, x = vita_jax.optim.learned(names[0]), jnp.ones(3)
moved = float(jnp.abs(tx.update(x, tx.init(x), x)[0]).max())
found = {"file": vita_jax.__file__, "nodes": len(graph.labels), "steps": stage.steps}
print(json.dumps(found | {"learned": names, "moved": moved}))
"""


def _run(*command, **options):
  done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
  assert done.returncode == 0, done.stderr[-2000:]
  return done.stdout


def test_the_wheel_works_outside_the_checkout(tmp_path, monkeypatch):
  monkeypatch.delenv("PYTHONPATH", raising=False)
  pip = (sys.executable, "-m", "pip")
  _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT)
  (wheel,) = tmp_path.glob("vita_jax-*.whl")
  assert wheel.stat().st_size < 15e6
  venv.create(tmp_path / "env", with_pip=False)
  site = next((tmp_path / "env").glob("lib/python*/site-packages"))
  # The dependencies are those of the running environment; an editable vita_jax there is not found this way.
  (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
  _run(*pip, "install", "--no-deps", "--target", site, wheel)
  found = json.loads(_run(tmp_path / "env" / "bin" / "python", "-c", CHECK, cwd=tmp_path).splitlines()[-1])
  assert Path(found["file"]).is_relative_to(tmp_path / "env")
  assert found["nodes"] == 3327 and found["steps"] == 1001
  assert "rnnprop-cl-il" in found["learned"] and 0 < found["moved"] < 1
