"""The step's parts against closed forms, what must not move, and where gradients must not go."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from papers.mm_hand import small

from vita_jax.base.tree import named_leaves
from vita_jax.nn import features
from vita_jax.papers.mm_hand import model
from vita_jax.papers.mm_hand.data import read_inputs, to_floats
from vita_jax.papers.mm_hand.guidance import Pose, analytic_depth, maps_of, scaled_depth, streams_of
from vita_jax.papers.mm_hand.losses import perceptual, pose_distance_in, reconstruction
from vita_jax.papers.mm_hand.model import init, levels, nets_of
from vita_jax.papers.mm_hand.recipe import METHODS, recipe_of
from vita_jax.papers.mm_hand.stages import first_state, stage_state, stages
from vita_jax.papers.mm_hand.steps import Made, gan_step, judge_step, look, lr_factor, phase_steps, rate_at

LN2 = 0.6931472


@pytest.fixture(scope="module")
def case(tmp_path_factory):
  """(recipe, nets, phase, state, batch) of MM-Hand with judges of one channel, whose logits are 0."""
  own = {"discriminator.head": "patch", "generator.modalities": ("pose", "depth", "joints")}
  recipe = recipe_of(small.config(tmp_path_factory.mktemp("hands"), "mm_hand", **own))
  recipe = recipe._replace(form="native")
  nets, inputs = nets_of(recipe), read_inputs(recipe)
  (stage,) = stages(recipe, nets, inputs)
  state = stage.enter(jax.jit(functools.partial(first_state, recipe, nets))(jax.random.key(0)), None)
  for name in ("judge_appearance", "judge_shape"):
    head = state["params"][name]["head"]
    state["params"][name]["head"] = jax.tree.map(jnp.zeros_like, head)
  batch = {"row": jnp.arange(2, dtype=jnp.int32), "hands": jax.tree.map(jnp.asarray, inputs.train)}
  return recipe, nets, recipe.phases[0], state, batch


def test_a_share_of_sources_stands_before_the_targets_background(case):
  recipe, nets, phase, state, batch = case
  image = np.asarray(batch["hands"]["image"])
  alpha = np.where(image.max(axis=-1) > 40, 255, 0).astype(np.uint8)  # sticks before 30 times a tone
  behind = np.broadcast_to(np.arange(len(image), dtype=np.uint8)[:, None, None, None], image.shape)
  hands = {**batch["hands"], "alpha": jnp.asarray(alpha), "behind": jnp.asarray(behind)}
  rows = jnp.arange(8, dtype=jnp.int32)

  def sources(share):
    own = recipe._replace(data=recipe.data._replace(one_background=share))
    key = jax.random.key(0)
    return np.asarray(look(own, nets, phase, 4, state, {"row": rows, "hands": hands}, key, 3).source)

  plain, moved, some = sources(0.0), sources(1.0), sources(0.5)
  found = [np.abs(image - picture).max(axis=(1, 2, 3)).argmin() for picture in plain]
  for i, source in enumerate(found):
    np.testing.assert_array_equal(plain[i], image[source])
    expected = np.where(
      alpha[source][..., None] > 0, image[source].astype(int), image[source].astype(int) + i - source
    )
    np.testing.assert_array_equal(moved[i], expected.clip(0, 255))
  of = (some == moved).all(axis=(1, 2, 3)).sum()
  assert 0 < of < 8 and ((some == moved).all(axis=(1, 2, 3)) | (some == plain).all(axis=(1, 2, 3))).all()


FIXTURE = Path(__file__).parent / "fixtures" / "steps.npz"


def _nested(arrays, prefix):
  flat = {
    name[len(prefix) + 1 :]: jnp.asarray(x) for name, x in arrays.items() if name.startswith(f"{prefix}/")
  }
  return unflatten_dict(flat, sep="/")


@pytest.mark.slow
def test_two_steps_are_those_of_pytorch(tmp_path):
  """Generator, then the judge of appearance, then that of shape; statistics move in three passes of each."""
  arrays = dict(np.load(FIXTURE))
  own = {"generator.width": 2, "generator.dropout": 0.0, "train.rate": 1e-3}
  own |= {"discriminator.width": 2, "discriminator.dropout": 0.0, "loss.pool": 4}
  recipe = recipe_of(small.config(tmp_path, "patn", **own))._replace(form="native")
  nets, (phase,) = nets_of(recipe), recipe.phases
  params = _nested(arrays, "before")
  ones = jax.tree.map(jnp.ones_like, _nested(arrays, "stats"))
  stats = jax.tree_util.tree_map_with_path(lambda p, x: x * (p[-1].key == "var"), ones)
  state = {"params": params, "stats": stats, "key": jax.random.key(0)}
  state = stage_state(recipe, phase, 0, state, None)
  hands = {"image": arrays["image"], "uv": arrays["uv"], "z": np.full((8, 21), 500, np.float32)}
  partners = (np.arange(8, dtype=np.int32)[:, None] + 4) % 8
  hands |= {"candidates": partners, "distances": np.zeros((8, 1), np.float32)}
  step = jax.jit(functools.partial(gan_step, recipe, nets, phase, 100))
  for t in range(2):
    rows = np.arange(2 * t, 2 * t + 2, dtype=np.int32)
    state, values = step(state, {"row": rows, "hands": hands}, jnp.int32(t))
    for name in ("loss", "judge_appearance", "judge_shape"):
      np.testing.assert_allclose(values[name][0], arrays[f"{name}/{t}"], rtol=1e-4, err_msg=name)
  for title, tree in (("after", state["params"]), ("stats", state["stats"])):
    for name, x in named_leaves(tree).items():
      # Adam divides by a second moment that is nearly 0 for a few weights.
      np.testing.assert_allclose(x, arrays[f"{title}/{name}"], atol=1e-4, err_msg=name)
  pool = state["pools"]["shape"]
  assert int(pool["filled"]) == 4
  np.testing.assert_array_equal(pool["images"]["uv"], arrays["uv"][:4])


def test_the_rate_of_the_released_schedule_is_0_in_the_last_epoch_and_never_below():
  factors = [float(lr_factor(e, epochs=100, decay=0)) for e in (0, 97, 98, 99, 150)]
  assert factors == [1, 1, 1, 0, 0]
  assert [float(lr_factor(e, epochs=2, decay=3)) for e in range(5)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_an_epoch_at_rate_0_is_left_out(case):
  recipe, _, phase, *_ = case
  assert phase_steps(recipe, phase._replace(steps=0), 7) == 99 * 7
  assert phase_steps(recipe, phase, 7) == 6


def test_steps_that_are_counted_have_one_rate_however_many_epochs_they_are(case):
  recipe, _, phase, *_ = case
  late = jnp.int32(2000 * 7)
  assert float(rate_at(recipe, phase, 7, late)) == pytest.approx(recipe.train.rate)
  assert float(rate_at(recipe, phase._replace(steps=0), 7, late)) == 0


def test_a_judge_that_cannot_tell_has_the_loss_of_five_log_two(case):
  """L_D = 5 / 2 (ln 2 + ln 2) = 3.46574, and no gradient of it reaches the pictures."""
  recipe, nets, phase, state, batch = case
  keys = jax.random.split(jax.random.key(1), 2)

  def value(picture, name):
    seen = look(recipe, nets, phase, 6, state, batch, keys[0], jnp.int32(0))
    made = Made(picture, None, (), {})
    return judge_step(recipe, nets, phase, name, state, seen, made, jnp.float32(1e-3), keys[1])[::-1]

  picture = jnp.zeros((2, small.SIZE, small.SIZE, 3))
  run = jax.jit(jax.value_and_grad(value, has_aux=True), static_argnums=1)
  (loss, new), gradient = run(picture, "appearance")
  assert float(loss) == pytest.approx(10 / 2 * LN2, abs=1e-5) == pytest.approx(3.46574, abs=1e-5)
  assert (np.asarray(gradient) == 0).all()
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), new["params"], state["params"])
  assert not any(jax.tree.leaves([moved["generator"], moved["judge_shape"]]))
  assert moved["judge_appearance"]["head"]["kernel"]
  pool = new["pools"]["appearance"]
  assert int(pool["filled"]) == 2 and pool["images"]["source"].dtype == np.uint8


def test_pools_keep_joints_and_no_maps(case):
  """The paper's would keep 24 channels of each picture for the judge of shape."""
  state = case[3]
  entry = jax.tree.map(lambda x: x.shape[1:], state["pools"]["shape"]["images"])
  assert entry == {"image": (small.SIZE, small.SIZE, 3), "uv": (21, 2)}


def _count(jaxpr, name):
  total = 0
  for equation in jaxpr.eqns:
    total += equation.primitive.name == name
    for value in equation.params.values():
      for inner in jax.tree.leaves(value, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
        inner = getattr(inner, "jaxpr", inner)
        if hasattr(inner, "eqns"):
          total += _count(inner, name)
  return total


@functools.cache
def _traced(method, folder, **own):
  recipe = recipe_of(small.config(folder, method, **own))._replace(form="native")
  nets, inputs = nets_of(recipe), read_inputs(recipe)
  state, found = jax.eval_shape(functools.partial(first_state, recipe, nets), jax.random.key(0)), []
  batch = {"row": np.arange(2, dtype=np.int32), "hands": inputs.train}
  for stage in stages(recipe, nets, inputs):
    state = jax.eval_shape(lambda s, stage=stage: stage.enter(s, None), state)
    jaxpr, (state_after, metrics) = jax.make_jaxpr(stage.step, return_shape=True)(state, batch, np.int32(0))
    assert jax.tree.structure(state) == jax.tree.structure(state_after)
    assert [x.shape for x in jax.tree.leaves(state)] == [x.shape for x in jax.tree.leaves(state_after)]
    found.append((stage.name, set(metrics), _count(jaxpr.jaxpr, "tanh")))
  return found


SLOW = ("no_attention", "cyclegan", "pg2")


@pytest.mark.parametrize("method", [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in METHODS])
def test_every_method_is_the_one_step(method, tmp_path):
  """Pictures are made once: of the generator's tanh there is one in a step (its slope needs no other)."""
  judged = {"loss", "l1", "gan", "judge_appearance", "judge_shape"}
  expected = {
    "mm_hand": [("train", judged, 1)],
    "patn": [("train", judged, 1)],
    "no_attention": [("train", judged, 1)],
    "pix2pix": [("train", {"loss", "l1", "gan", "judge_joints"}, 1)],
    "cyclegan": [
      ("train", {"loss", "gan", "cycle", "judge_picture", "judge_map"}, 4)
    ],  # there and back, twice
    "pg2": [("coarse", {"loss", "l1"}, 1), ("train", {"loss", "l1", "gan", "judge_appearance"}, 2)],
    "copy_source": [],
  }
  assert _traced(method, tmp_path) == expected[method]


@pytest.mark.slow
def test_depth_that_is_learned_has_a_stage_of_its_own(tmp_path):
  found = _traced("mm_hand", tmp_path, **{"depth.source": "learned"})
  assert [name for name, *_ in found] == ["depth", "train"]
  assert found[0][1] == {"loss", "l1", "gan", "judge_depth"}


def test_only_the_trained_network_is_differentiated(case):
  """Of the generator's loss the judges' gradient is not computed: their parameters come out as they were."""
  recipe, nets, phase, state, batch = case
  still = phase._replace(judges=())
  new, _ = jax.eval_shape(functools.partial(gan_step, recipe, nets, still, 6), state, batch, jnp.int32(0))
  assert jax.tree.structure(new["params"]) == jax.tree.structure(state["params"])
  jaxpr = jax.make_jaxpr(functools.partial(gan_step, recipe, nets, still, 6))(state, batch, jnp.int32(0))
  inputs = dict(zip(jax.tree.leaves(jax.tree.map(id, state)), jaxpr.jaxpr.invars, strict=False))
  places = {name: jax.tree.leaves(jax.tree.map(id, state["params"][name])) for name in state["params"]}
  outputs = set(map(id, jaxpr.jaxpr.outvars))
  for name in ("judge_appearance", "judge_shape"):
    assert all(id(inputs[leaf]) in outputs for leaf in places[name]), name


def test_sources_come_near_first_and_far_first(case):
  recipe, nets, phase, state, batch = case
  table = batch["hands"]["candidates"]
  for kind, column in (("easy_to_hard", 0), ("anti", -1)):
    own = recipe._replace(curriculum=recipe.curriculum._replace(kind=kind))  # 4 candidates, a fifth of them
    seen = look(own, nets, phase, 6, state, batch, jax.random.key(0), jnp.int32(0))
    np.testing.assert_array_equal(seen.source, batch["hands"]["image"][table[:2, column]])


def test_all_candidates_come_in_the_end(case):
  recipe, nets, phase, state, batch = case
  draw = jax.jit(lambda key: look(recipe, nets, phase, 6, state, batch, key, jnp.int32(5)).source[0])
  late = {np.asarray(draw(jax.random.key(k))).tobytes() for k in range(12)}
  table = np.asarray(batch["hands"]["candidates"][0])
  assert 1 < len(late) <= len(table)
  assert late <= {np.asarray(batch["hands"]["image"][i]).tobytes() for i in table}


def test_guides_are_of_the_joints_alone_and_in_fixed_units(case):
  recipe = case[0]
  hands = small.columns(1)
  uv = jnp.asarray(hands["uv"]).at[0, 8].set(jnp.array([11.0, 4.0]))  # off the diagonal
  pose = Pose(uv, jnp.full((1, 21), 350.0))
  depth = functools.partial(analytic_depth, recipe)
  heat = maps_of(recipe, "pose", pose, depth)
  assert heat.shape == (1, 16, 16, 21) and float(heat[0, 4, 11, 8]) == 1 and float(heat[0, 11, 4, 8]) == 0
  assert [float(scaled_depth(jnp.float32(d), 700.0)) for d in (-9, 350, 700, 900)] == [-1, 0, 1, 1]
  deep = maps_of(recipe, "depth", pose, depth)
  assert deep.shape[-1] == 3 and float(deep.max()) == 1 and -0.2 < float(deep.min()) < 0
  streams = streams_of(recipe, jnp.zeros((1, 16, 16, 3)), pose, pose, depth)
  assert [x.shape[-1] for x in streams] == [3, 42, 6, 6]


def test_losses_of_known_pictures():
  made, truth = jnp.full((1, 2, 2, 3), 0.5), jnp.zeros((1, 2, 2, 3))
  hand = jnp.zeros((1, 2, 2, 1)).at[0, 0, 0].set(1.0)
  assert float(reconstruction(made, truth)) == 0.5
  assert float(reconstruction(made, truth, hand)) == pytest.approx(0.5 * 1.25)
  joints = jnp.zeros((2, 21, 2))
  assert float(pose_distance_in(joints + jnp.array([3.0, 4.0]), joints, 50)) == pytest.approx(0.1)
  slopes = jax.grad(lambda x: pose_distance_in(x, joints, 50))(joints)
  assert bool(jnp.isfinite(slopes).all())


def test_maps_of_the_other_vgg_are_in_the_unit_of_the_papers():
  """Pictures that are one of ImageNet's deviations apart, 0.226 of [0, 1], are 1 apart for a linear layer."""
  net = features.load("random")._replace(
    apply=lambda variables, x: features.Features({"relu1_2": 255.0 * x}, x[:, 0, 0])
  )
  one = jnp.zeros((1, 4, 4, 3))
  distance = perceptual(functools.partial(model._vgg_maps, net), one, one + 2 * 0.226)
  assert float(distance) == pytest.approx(1)


@pytest.mark.parametrize("name", ["hed_vgg16", "lite"])
def test_the_perceptual_loss_of_real_weights_has_the_size_of_the_others(name, tmp_path):
  recipe = recipe_of(small.config(tmp_path, **{"loss.net": name, "data.size": 32}))
  try:
    nets = nets_of(recipe._replace(form="top"))
  except FileNotFoundError as error:
    pytest.skip(str(error))
  y, x = np.mgrid[:32, :32] / 31
  picture = jnp.asarray(np.stack([x, y, x * y], axis=-1)[None] * 2 - 1, jnp.float32)
  value = jax.jit(jax.value_and_grad(functools.partial(perceptual, nets.perceptual)))
  found, slope = value(picture, picture[:, ::-1])
  assert 0.05 < float(found) < 5 and 0 < float(jnp.abs(slope).max()) < 1
  assert float(value(picture, picture)[0]) < 1e-6  # both sides are compiled in ways of their own


def test_kernels_start_as_those_of_dcgan_and_sides_are_halved_as_often_as_they_can(case):
  recipe, nets, *_ = case
  found = jax.jit(functools.partial(init, recipe, nets))(jax.random.key(0))
  kernel = np.asarray(found["params"]["generator"]["encoder_1"]["stem"]["kernel"])
  assert kernel.std() == pytest.approx(0.02, rel=0.05) and abs(kernel.mean()) < 1e-3
  leaves = named_leaves(found)
  scales = np.concatenate([x for name, x in leaves.items() if name.endswith("scale")])
  assert scales.mean() == pytest.approx(1, abs=0.01) and scales.std() == pytest.approx(0.02, rel=0.3)
  rest = {name: x for name, x in leaves.items() if name.rpartition("/")[2] in ("bias", "mean", "var")}
  assert all((x == name.endswith("var")).all() for name, x in rest.items())
  assert [levels(side) for side in (256, 512, 96, 64, 16)] == [8, 8, 5, 6, 4]


def test_pictures_are_scaled_both_ways():
  assert to_floats(np.array([0, 255], np.uint8)).tolist() == [-1, 1]
