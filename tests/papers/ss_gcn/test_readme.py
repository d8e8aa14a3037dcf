"""The README's Python runs as written, and the graph that it makes trains."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.update import ROOT

from vita_jax import papers
from vita_jax.base.files import load_python_file


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
  pytest.importorskip("sklearn")
  monkeypatch.chdir(tmp_path)
  text = (ROOT / "vita_jax/papers/ss_gcn/README.md").read_text(encoding="utf-8")
  scope = {}
  for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
    exec(compile(block, "README.md", "exec"), scope)
  np.testing.assert_allclose(scope["logits"][3:], scope["logits"][:3], atol=1e-6)
  config = load_python_file(ROOT / "configs/ss_gcn/custom.py").get_config("random_labels")
  config.data.path = "digits.npz"
  experiment = papers.build(config)
  stage = experiment.stages[0]
  state = jax.eval_shape(experiment.init, jax.random.key(0))
  assert "ss_loss" in jax.eval_shape(stage.step, state, stage.data.arrays, jnp.int32(0))[1]
