"""The step against PyTorch's numbers, the schedule, the pool, and where gradients must not go."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.gan_slimming import small

from vita_jax.base.tree import named_leaves
from vita_jax.compress import Quant, count_macs, layer_bytes
from vita_jax.nn.gan import PatchDiscriminator, ResnetGenerator, resnet_widths
from vita_jax.papers.gan_slimming.model import Nets
from vita_jax.papers.gan_slimming.recipe import Budget, recipe_of
from vita_jax.papers.gan_slimming.steps import (
  planned_share,
  slim_step,
  steered_shares,
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


def test_rho_follows_the_plan_for_the_multiply_adds(case):
  recipe, nets, _, state, _ = case
  recipe = recipe._replace(slim=recipe.slim._replace(steps=900), budget=Budget(0.35, 0.0, 1))
  planned = [float(planned_share(900, jnp.int32(t), first=1.0, last=0.35)) for t in (0, 300, 600, 900)]
  assert planned == pytest.approx([1, 0.675, 0.35, 0.35])
  generator = state["params"]["generator"]
  shares, excess = steered_shares(recipe, nets, generator, jnp.int32(300))
  assert {name: float(x) for name, x in shares.items()} == {"macs_share": pytest.approx(1.0)}
  assert float(excess) == pytest.approx(1 / 0.675)
  empty = {**generator, "block_0_a": {**generator["block_0_a"], "scale": jnp.zeros(8)}}
  left = nets.student.resized({"block_0_a": 0}).layers
  share = float(steered_shares(recipe, nets, empty, jnp.int32(0))[0]["macs_share"])
  assert share == pytest.approx(count_macs(left, 64, 64) / count_macs(nets.student.layers, 64, 64))


def test_rho_follows_a_budget_of_bytes_from_those_of_the_dense_student(case):
  """One of 8 bits begins at a quarter of the teacher's bytes: a plan from 1 would let it wait."""
  recipe, nets, _, state, _ = case
  generator, slim = state["params"]["generator"], recipe.slim._replace(steps=900)
  recipe = recipe._replace(slim=slim, budget=Budget(0.0, 0.1, 1), quant=Quant())
  shares, excess = steered_shares(recipe, nets, generator, jnp.int32(0))
  whole, teacher = (layer_bytes(nets.teacher.layers, bits=bits) for bits in (8, 0))
  assert float(shares["bytes_share"]) == pytest.approx(whole / teacher) and set(shares) == {"bytes_share"}
  assert float(excess) == pytest.approx(1.0)
  _, later = steered_shares(recipe, nets, generator, jnp.int32(600))
  assert float(later) == pytest.approx(whole / teacher / 0.1)
