"""A whole run on painted pictures: it prunes, the smaller network is the masked one, and its files run."""

import importlib.util
import json
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.gan_slimming import small
from PIL import Image

from vita_jax import train
from vita_jax.data.files import read_safetensors
from vita_jax.papers import gan_slimming
from vita_jax.papers.gan_slimming.channels import choose_channels, relative_cost
from vita_jax.papers.gan_slimming.data import read_inputs, to_floats
from vita_jax.papers.gan_slimming.model import DISCRIMINATOR, extracted, macs, nets_of
from vita_jax.papers.gan_slimming.recipe import recipe_of
from vita_jax.papers.gan_slimming.report import look
from vita_jax.papers.gan_slimming.stages import first_state, stages
from vita_jax.train.program_file import write_program
from vita_jax.train.weights import save_params

pytestmark = pytest.mark.filterwarnings("ignore:no ONNX files")
BUDGET = 0.7


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """(config, recipe, nets, state, summary, workdir, experiment) of GS-8 with a teacher of its own."""
  config = small.config(tmp_path_factory.mktemp("pictures"), "gs8", **{"budget.macs": BUDGET})
  recipe = recipe_of(config)._replace(form="native")
  workdir = tmp_path_factory.mktemp("run")
  experiment, seen = gan_slimming.build(config, form="native"), {}

  def report(state, evaluate, sweep):
    seen["state"] = state
    return experiment.report(state, evaluate, sweep)

  summary = train.run(experiment._replace(report=report), config, workdir, quiet=True)
  return config, recipe, nets_of(recipe), seen["state"], summary, workdir, experiment


def test_it_prunes_within_the_budget_and_says_what_is_left(run):
  _, _, nets, state, summary, workdir, _ = run
  found = {name: entry["mean"] for name, entry in summary["metrics"].items()}
  assert found["pruned_by_training"] >= 0.1 and found["macs_share"] <= BUDGET
  little, _ = extracted(nets, state)
  assert found["macs"] == macs(little) < macs(nets.teacher)
  assert found["bytes_ratio"] > 3 and found["channels_pruned"] > 0.1
  assert found["teacher_psnr"] > found["identity_psnr"] + 2  # a teacher that is worth following
  rows = [line.split(",") for line in (workdir / "channels.csv").read_text().splitlines()]
  assert rows[0][:3] == ["layer", "features", "features_left"] and len(rows) == 1 + len(nets.teacher.layers)
  assert all((workdir / "figures" / f"{name}.png").exists() for name in ("sheet", "channels", "curves"))
  with np.load(workdir / "crops.npz") as crops:
    assert list(crops) == ["input", "target", "teacher", "method"] and crops["method"].shape == (4, 16, 16, 3)


def test_the_extracted_network_is_the_masked_one(run):
  _, recipe, nets, state, *_ = run
  little, variables = extracted(nets, state)
  batch = {"image": read_inputs(recipe).test["image"]}
  masked = jax.jit(partial(look, nets))(state, batch)["picture"]
  cut = jax.jit(little.apply)(variables, to_floats(batch["image"]))
  # Levels are the same; a sum in another order may move one of them by a step.
  assert float(jnp.abs(masked - cut).mean()) < 1e-4 and float(jnp.abs(masked - cut).max()) < 0.02
  whole, little = (jax.jit(net.clone(quant=None).apply) for net in (nets.student, little))
  masked = whole({"params": state["params"]["generator"]}, to_floats(batch["image"]))
  cut = little({"params": variables["params"]}, to_floats(batch["image"]))
  np.testing.assert_allclose(cut, masked, atol=1e-5)


def test_channels_that_left_stay_empty_while_the_others_train(run):
  state = run[3]
  gone = ~np.asarray(state["kept"]["block_0_a"])
  kernel = np.asarray(state["params"]["generator"]["block_0_a"]["kernel"])
  if gone.any():
    assert (kernel[..., gone] == 0).all()
  assert sum(int((~np.asarray(mask)).sum()) for mask in state["kept"].values()) > 0


def test_the_files_hold_integers_and_run_on_any_size(run, tmp_path):
  _, _, _, state, summary, _, experiment = run
  exported = experiment.export(state)
  exported.write(tmp_path)
  arrays = read_safetensors(tmp_path / "int8.safetensors")
  assert all(x.dtype == np.int8 for name, x in arrays.items() if name.endswith("/kernel"))
  card = json.loads((tmp_path / "card.json").read_text())
  far = card["largest and mean difference to program.jax, held out, of [-1, 1]"]
  assert far["program_int8.jax"][0] < 1e-3
  kinds = {"program.jax", "program_int8.jax", "teacher"}
  if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
    kinds |= {"model.onnx", "model_int8.onnx", "model_integer.onnx"}
  assert set(card["seconds for 256 x 256 on this machine, p50 and p95 of 10, ONNX on one thread"]) == kinds
  assert set(card["held-out psnr, dB"]) == kinds == {"program.jax"} | set(far)
  if "model.onnx" in far:  # float32, where the trained network has levels
    assert far["model.onnx"][1] > 10 * far["model_int8.onnx"][1]
  assert abs(card["held-out psnr, dB"]["program_int8.jax"] - summary["metrics"]["psnr"]["mean"]) < 0.1
  picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 27, 3), dtype=np.uint8))
  picture.save(tmp_path / "own.png")
  inputs = exported.read(str(tmp_path / "own.png"))
  assert inputs["image"].shape == (1, 20, 28, 3)  # continued by its mirror image
  outputs = jax.jit(exported.program)(exported.params, **inputs)
  program = jax.export.deserialize(bytearray((tmp_path / "program_int8.jax").read_bytes()))
  integer = program.call({name: jnp.asarray(x) for name, x in arrays.items()}, inputs["image"])
  np.testing.assert_allclose(integer, outputs["picture"], atol=0.02)
  assert exported.decode(str(tmp_path / "own.png"), outputs)["rgb"].shape == (18, 27, 3)
  write_program(tmp_path / "program.jax", exported, platforms=("cpu",))
  program = jax.export.deserialize(bytearray((tmp_path / "program.jax").read_bytes()))
  weights = {f"{layer}/{leaf}": x for layer, own in exported.params.items() for leaf, x in own.items()}
  np.testing.assert_allclose(program.call(weights, inputs)["picture"], outputs["picture"], atol=1e-4)
  assert exported.card["generator"]["quant"]["weight_bits"] == 8


def test_a_run_teaches_another_one_and_channels_are_chosen_at_one_budget(run, tmp_path):
  workdir = run[5]
  for rule, method in (
    ("scale", "gs32"),
    ("magnitude", "magnitude"),
    ("random", "random"),
    ("evolution", "cec"),
  ):
    own = {"teacher.path": str(workdir), "budget.macs": BUDGET, "generator.output": "residual"}
    recipe = recipe_of(small.config(tmp_path, method, **own))._replace(form="native", generations=2)
    nets, inputs = nets_of(recipe), read_inputs(recipe)
    first = {"params": {name: nets.loaded[name] for name in ("generator", "discriminator")}}
    looked = inputs.test["image"]
    kept = [choose_channels(recipe, nets, first, jax.random.key(seed), looked) for seed in (0, 0, 1)]
    counts = {name: int(mask.sum()) for name, mask in kept[0].items()}
    assert 0.5 < relative_cost(recipe, nets, counts) <= 1, rule
    same = [all((kept[0][name] == other[name]).all() for name in counts) for other in kept[1:]]
    assert same[0] and (same[1] or rule in ("random", "evolution"))


def test_stages_differ_between_methods_as_they_should(run, tmp_path):
  workdir = run[5]
  names = {}
  for method in ("gs32", "gd", "stack", "random", "teacher"):
    own = {} if method == "teacher" else {"teacher.path": str(workdir), "budget.macs": BUDGET}
    config = small.config(tmp_path, method, **own)
    recipe = recipe_of(config)._replace(form="native")
    nets, inputs = nets_of(recipe), read_inputs(recipe)
    names[method] = [(stage.name, stage.steps) for stage in stages(recipe, nets, inputs)]
    if method in ("gs32", "gd"):
      state = jax.eval_shape(partial(first_state, recipe, nets), jax.random.key(0))
      assert ("teacher" in state) and state["params"]["generator"]["stem"]["kernel"].shape[-1] == (
        4 if method == "gs32" else nets.student.widths.stem
      )
  assert names["gs32"] == names["gd"] == names["stack"] == [("slim", 8), ("finetune", 6)]
  assert names["random"] == [("finetune", 14)] and names["teacher"] == [("teacher", 6)]


@pytest.mark.slow
def test_channels_of_the_residual_stream_go_where_that_is_asked_for(tmp_path):
  overrides = {"budget.macs": 0.3, "generator.stream": True}
  config = small.config(tmp_path / "pictures", "gs8", **overrides)
  experiment, seen = gan_slimming.build(config, form="native"), {}

  def report(state, evaluate, sweep):
    seen["state"] = state
    return experiment.report(state, evaluate, sweep)

  summary = train.run(experiment._replace(report=report), config, tmp_path / "run", quiet=True)
  assert summary["metrics"]["macs_share"]["mean"] <= 0.3
  recipe = recipe_of(config)._replace(form="native")
  nets = nets_of(recipe)
  little, variables = extracted(nets, seen["state"])
  assert little.widths.down[-1] < nets.teacher.widths.down[-1] and little.stream_gate
  images = to_floats(read_inputs(recipe).test["image"])
  masked = nets.student.clone(quant=None).apply({"params": seen["state"]["params"]["generator"]}, images)
  cut = little.clone(quant=None).apply({"params": variables["params"]}, images)
  np.testing.assert_allclose(cut, masked, atol=1e-5)
  picture = jax.jit(partial(look, nets))(seen["state"], {"image": read_inputs(recipe).test["image"]})
  exported = experiment.export(seen["state"])
  np.testing.assert_allclose(
    exported.program(exported.params, image=images)["picture"], picture["picture"], atol=0.02
  )


def test_the_stream_of_cartoons_generator_is_refused(tmp_path):
  config = small.config(tmp_path, **{"generator.kind": "cartoon", "generator.stream": True})
  with pytest.raises(ValueError, match="config.generator.stream is of config.generator.kind=resnet"):
    recipe_of(config)


def test_an_exported_teacher_keeps_its_discriminator_and_its_kind_of_output(tmp_path):
  """Of a folder or a file, before and after `launch/export.py` has written there."""
  config = small.config(tmp_path / "pictures", "teacher", **{"generator.stream": True})
  experiment = gan_slimming.build(config, form="native")
  recipe = recipe_of(config)
  state = jax.jit(experiment.init)(jax.random.key(0))
  folder = tmp_path / "run" / "export"
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps({"config": config.to_dict()}))

  def teacher(path, **overrides):
    own = small.config(tmp_path / "pictures", **{"teacher.path": str(path), **overrides})
    return nets_of(recipe_of(own)).loaded

  save_params(folder / "params.safetensors", state["params"])
  before = teacher(tmp_path / "run")
  exported = experiment.export(state)  # the stream of a teacher has no scale
  assert not hasattr(exported.params, "stream_scale") and recipe.generator.stream
  save_params(folder / "params.safetensors", exported.params)
  save_params(folder / DISCRIMINATOR, jax.device_get(state["params"]["discriminator"]))
  for path in (tmp_path / "run", folder / "params.safetensors"):
    chex.assert_trees_all_equal(teacher(path), before)
    with pytest.raises(
      ValueError, match="config.generator.output is tanh, and the teacher of .* has residual"
    ):
      teacher(path, **{"generator.output": "tanh"})
