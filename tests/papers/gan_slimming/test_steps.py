"""The step against PyTorch's numbers, the schedule, the pool, and where gradients must not go."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.gan_slimming import small

from vita_jax.base.tree import named_leaves
from vita_jax.compress import count_macs
from vita_jax.nn.gan import PatchDiscriminator, ResnetGenerator, resnet_widths
from vita_jax.papers.gan_slimming.model import Nets
from vita_jax.papers.gan_slimming.recipe import Phase, recipe_of
from vita_jax.papers.gan_slimming.steps import (
  epoch_cosine,
  live_share,
  planned_share,
  slim_step,
  student_optimizers,
)

FIXTURE = Path(__file__).parent / "fixtures" / "steps.npz"


def _tree(arrays, prefix):
  tree = {}
  for name, x in arrays.items():
    if name.startswith(f"{prefix}/"):
      _, layer, leaf = name.split("/")
      tree.setdefault(layer, {})[leaf] = jnp.asarray(x)
  return tree


@pytest.fixture(scope="module")
def case(tmp_path_factory):
  """(recipe, nets, phase, first state, arrays) of the fixture."""
  arrays = dict(np.load(FIXTURE))
  net = ResnetGenerator(resnet_widths(2, 1), form="native")
  nets = Nets(net, net, PatchDiscriminator(2, 2, form="native"), net.channel_graph(), None)
  recipe = recipe_of(small.config(tmp_path_factory.mktemp("pictures")))
  recipe = recipe._replace(objective=recipe.objective._replace(beta=20.0))
  # The fixture's rates stay as they are: a schedule so long that two steps do not move it.
  rates = {"rate": 1e-3, "gate_rate": 0.1, "discriminator_rate": 2e-3, "rho": 0.4}
  phase = recipe.slim._replace(steps=10**6, **rates)
  params = {"generator": _tree(arrays, "student"), "discriminator": _tree(arrays, "discriminator")}
  optimizers = student_optimizers(nets, params["generator"], recipe.objective, phase, 10**6)
  state = {
    "params": params,
    "teacher": _tree(arrays, "teacher"),
    "tx": {name: tx.init(params[name]) for name, tx in zip(params, optimizers, strict=True)},
    "pool": {"images": jnp.zeros((4, 16, 16, 3)), "filled": jnp.int32(0)},
    "rho": jnp.float32(0.4),
    "key": jax.random.key(0),
  }
  step = jax.jit(partial(slim_step, recipe, nets, None, phase, 10**6))
  return recipe, nets, step, state, arrays


def test_two_steps_are_those_of_pytorch(case):
  _, _, step, state, arrays = case
  for t, images in enumerate(arrays["images"]):
    state, values = step(state, {"image": jnp.asarray(images)}, jnp.int32(t))
  ours = {
    "student_after": named_leaves(state["params"]["generator"]),
    "discriminator_after": named_leaves(state["params"]["discriminator"]),
  }
  for prefix, leaves in ours.items():
    for name, x in leaves.items():
      # Adam divides by a second moment that is nearly 0 for a few weights (jax 0.11.2: 2.8e-5).
      np.testing.assert_allclose(x, arrays[f"{prefix}/{name}"], atol=5e-5, err_msg=name)
  zeros = {n: np.asarray(x) == 0 for n, x in ours["student_after"].items() if n.endswith("scale")}
  for name, gone in zeros.items():
    np.testing.assert_array_equal(gone, arrays[f"student_after/{name}"] == 0)
    assert (np.asarray(ours["student_after"][name.replace("scale", "shift")])[gone] == 0).all()
  total = np.concatenate(list(zeros.values()))
  assert 0 < total.sum() < total.size and float(values["pruned"][0]) == pytest.approx(total.mean())
  np.testing.assert_allclose(values["loss"][0], arrays["loss"], rtol=1e-4)
  np.testing.assert_allclose(values["discriminator"][0], arrays["discriminator_loss"], rtol=1e-4)


def test_a_step_leaves_the_teacher_alone_and_fills_the_pool_with_what_it_made(case):
  _, nets, step, state, arrays = case
  images = jnp.asarray(arrays["images"][0])
  new, _ = step(state, {"image": images}, jnp.int32(0))
  for name, x in named_leaves(new["teacher"]).items():
    np.testing.assert_array_equal(x, arrays[f"teacher/{name}"])
  made = jax.jit(nets.student.apply)(
    {"params": state["params"]["generator"]}, images.astype(jnp.float32) / 127.5 - 1
  )
  assert int(new["pool"]["filled"]) == 2  # the pictures of before the update
  np.testing.assert_allclose(new["pool"]["images"][:2], made, atol=1e-5)


def test_the_rate_falls_by_epochs_along_a_cosine_to_zero():
  rate = epoch_cosine(0.1, steps=200 * 133, per_epoch=133)
  assert float(rate(jnp.int32(132))) == float(rate(jnp.int32(0))) == pytest.approx(0.1)
  assert float(rate(jnp.int32(100 * 133))) == pytest.approx(0.05)
  epochs = sum(float(rate(jnp.int32(133 * e))) for e in range(200))
  assert epochs == pytest.approx(
    0.1 * 100.5
  )  # what a scale without gradient loses is rho times 133 times this


def test_rho_follows_the_plan_for_the_multiply_adds(case):
  _, nets, _, state, _ = case
  phase = recipe_phase(steer=0.35)
  assert [round(float(planned_share(phase, jnp.int32(t))), 3) for t in (0, 300, 600, 900)] == [
    1,
    0.675,
    0.35,
    0.35,
  ]
  generator = state["params"]["generator"]
  assert float(live_share(nets, generator)) == pytest.approx(1.0)
  empty = {**generator, "block_0_a": {**generator["block_0_a"], "scale": jnp.zeros(8)}}
  left = nets.student.resized({"block_0_a": 0}).layers
  assert float(live_share(nets, empty)) == pytest.approx(
    count_macs(left, 64, 64) / count_macs(nets.student.layers, 64, 64)
  )


def recipe_phase(**changes):
  """A slimming phase of 900 steps."""
  plain = Phase(900, 2, 1e-3, 0.1, 1e-3, 0.1, 0.0, distil=True, gan=True, fixed=False)
  return plain._replace(**changes)
