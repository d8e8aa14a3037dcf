"""launch/gan_slimming/prune_by_torch.py: torch computes what our generator does, before and after pruning."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.gan import ResnetGenerator, resnet_widths

torch = pytest.importorskip("torch")
FILE = Path(__file__).resolve().parents[2] / "launch" / "gan_slimming" / "prune_by_torch.py"


@pytest.fixture(scope="module")
def script():
  spec = importlib.util.spec_from_file_location("prune_by_torch", FILE)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _drawn():
  generator = ResnetGenerator(resnet_widths(8, 2))
  params = generator.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
  keys = iter(jax.random.split(jax.random.key(1), 100))
  return generator, jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), params)


def test_the_torch_module_computes_the_same(script):
  generator, params = _drawn()
  x = np.random.default_rng(0).uniform(-1, 1, (2, 32, 24, 3)).astype(np.float32)
  with torch.no_grad():
    theirs = script.in_torch(generator, params)(torch.tensor(np.moveaxis(x, -1, 1))).tanh()
  np.testing.assert_allclose(
    np.moveaxis(theirs.numpy(), 1, -1), generator.apply({"params": params}, x), atol=2e-5
  )


def test_by_filters_it_meets_the_budget_and_by_scales_it_removes_nothing(script):
  pytest.importorskip("torch_pruning")
  generator, params = _drawn()
  small, cut = script.within(generator, params, 0.4)
  assert 0.3 < script.share(small, generator) <= 0.4
  assert small.apply({"params": cut}, jnp.zeros((1, 16, 16, 3))).shape == (1, 16, 16, 3)
  assert small.widths.down[-1] < generator.widths.down[-1]  # the residual stream is one of its groups
  same, _ = script.pruned(generator, params, 0.5, by="scale")
  assert same.widths == generator.widths
