"""A whole run on drawn hands: it learns, reports beside what a copy is worth, and its program draws."""

import functools
import json
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.mm_hand import small
from PIL import Image

from vita_jax import cli, train
from vita_jax.data.hands import RHD_ORDER, STB_ORDER, order_of
from vita_jax.hands import judges
from vita_jax.hands.modalities import joints_before
from vita_jax.papers import mm_hand
from vita_jax.papers.mm_hand.data import read_inputs
from vita_jax.papers.mm_hand.data import test_pairs as make_test_pairs
from vita_jax.papers.mm_hand.downstream import drawn_by, drawn_pairs
from vita_jax.papers.mm_hand.recipe import recipe_of
from vita_jax.train.program_file import write_program
from vita_jax.train.runs import find_runs

export, report = (import_module(f"vita_jax.papers.mm_hand.{name}") for name in ("export", "report"))


def _sees_a_hand(pictures, names):
  """In place of the palm detector, for which 16 pixels are none."""
  assert len(pictures) == len(names)


def _find(pictures):
  """A judge that finds every joint in the middle."""
  return jnp.full((len(pictures), 21, 2), 7.5), jnp.full(len(pictures), 0.75)


@pytest.fixture
def blind(monkeypatch):
  monkeypatch.setattr(report, "judges_of", lambda *_: [judges.Judge("", _find)])


def test_the_truth_itself_has_no_distance_to_the_truth(monkeypatch):
  """Pictures and truths are pairs: with partners counted as strangers their kernel distance is below 0."""
  net = type("Net", (), {"name": "net"})()
  rows = np.random.default_rng(0).normal(size=(20, 6))
  monkeypatch.setattr(report.features, "pooled_features", lambda *_: rows)
  pictures = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), np.uint8)
  hand = np.zeros((20, 16, 16, 1), np.float32)
  hand[:, :8] = 1
  found = report.appearance(pictures, pictures, [net], hand=hand)
  assert found["l1"] == found["hand_l1"] == 0 and found["ssim"] == pytest.approx(1)
  assert found["kernel_net"] == pytest.approx(0, abs=1e-9)
  assert found["frechet_net"] == pytest.approx(0, abs=1e-4)


def test_the_hands_own_l1_is_of_its_pixels_alone():
  truth = np.zeros((2, 16, 16, 3), np.uint8)
  shown, hand = truth.copy(), np.zeros((2, 16, 16, 1), np.float32)
  hand[0, :4], hand[1, :8] = 1, 1
  shown[:, :4], shown[:, 12:] = 51, 255  # 51 / 255 is 0.4 in the unit of [-1, 1]
  found = report.appearance(shown, truth, [], hand=hand)
  assert found["hand_l1"] == pytest.approx((0.4 + 0.2) / 2, abs=1e-6)
  assert found["l1"] == pytest.approx((0.4 + 2) / 4, abs=1e-6)


def test_it_reports_beside_what_a_copy_and_the_truth_are_worth(blind, tmp_path):
  """Of a run without training: the sources as they are."""
  config = small.config(tmp_path, "copy_source")
  experiment, workdir = mm_hand.build(config, form="native"), tmp_path / "run"
  assert experiment.stages == ()
  summary = train.run(experiment, config, workdir, quiet=True)
  found = {name: entry["mean"] for name, entry in summary["metrics"].items()}
  assert found["l1"] == pytest.approx(found["copy_l1"], abs=1e-6)
  assert found["l1"] <= found["l1_p95"] and found["ssim_p5"] <= found["ssim"]
  assert found["presence"] == 0.75 and found["absent"] == 0
  # This judge sees no difference between pictures, so what it says of all three is the same.
  assert found["pose_error"] == found["copy_pose_error"] == found["floor_pose_error"] > 0
  assert found["pose_error_p95"] >= found["pose_error"] and 0 <= found["pck_auc"] <= 1
  assert all((workdir / "figures" / f"{name}.png").exists() for name in ("sheet", "failures"))


def test_pairs_before_one_background_are_told_apart_with_the_best_there_is(tmp_path):
  recipe = recipe_of(small.config(tmp_path, **{"data.one_background": 0.5}))
  hands = small.columns(20)
  corner = np.zeros((20, small.SIZE, small.SIZE), np.uint8)
  corner[:, :4] = 255  # where the hand is
  behind = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None] * 10, hands["image"].shape)
  image = np.where(corner[..., None] > 0, 250, behind).astype(np.uint8)
  hands = {**hands, "image": image, "alpha": corner, "behind": behind, "identity": np.zeros(20, int)}
  pairs = make_test_pairs(recipe, hands, hands)
  same = pairs["same_background"]
  assert 0 < same.sum() < 20
  np.testing.assert_array_equal((pairs["source"] == pairs["image"]).all(axis=(1, 2, 3)), same)
  np.testing.assert_array_equal(pairs["best"], pairs["source"])  # all hands of this test are equal


def test_a_program_draws_the_tested_pairs_and_a_sheet_shows_runs_side_by_side(tmp_path):
  config = small.config(tmp_path, "copy_source")
  experiment = mm_hand.build(config, form="native")
  pairs = read_inputs(recipe_of(config)).tests["test"]
  drawn = drawn_pairs(pairs, drawn_by(experiment.export(experiment.init(jax.random.key(0)))))
  np.testing.assert_array_equal(drawn, pairs["source"])
  columns = {"source": pairs["source"], "one": drawn, "other": drawn, "truth": pairs["image"]}
  titles = [axis.get_title() for axis in report.sheet(columns, pairs["uv"], np.array([2, 0])).axes]
  assert titles == ["source", "target", "one", "other", "truth", *[""] * 5]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mm_hand", "no_attention", "pix2pix", "cyclegan", "pg2"])
def test_a_whole_run_learns(method, tmp_path):
  own = {
    "train.rate": 2e-3,
    "train.steps": 40,
    "depth.source": "learned" if method == "mm_hand" else "analytic",
  }
  own |= {"discriminator.blocks": 1}
  config = small.config(tmp_path, method, **own)
  summary = train.run(mm_hand.build(config, form="native"), config, tmp_path / "run", quiet=True)
  assert np.isfinite([entry["mean"] for entry in summary["metrics"].values()]).all()
  rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  losses = [row["metrics"]["loss"] for row in rows if (row["stage"], row["split"]) == ("train", "train")]
  assert len(losses) > 10 and np.mean(losses[-5:]) < np.mean(losses[:3])
  config, runs = find_runs([str(tmp_path / "run")])
  ((folder, seed),) = runs["run"]
  pairs = read_inputs(recipe_of(config)).tests["test"]
  drawn = drawn_pairs(pairs, drawn_by(cli.exported(str(folder), seed)[0]))
  assert drawn.shape == pairs["image"].shape and drawn.std() > 0


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """What an untrained MM-Hand exports."""
  config = small.config(tmp_path_factory.mktemp("hands"), "mm_hand")
  experiment = mm_hand.build(config, form="native")
  return experiment.export(jax.jit(experiment.init)(jax.random.key(0)))


def test_what_it_draws_comes_out_of_its_program_as_files(exported, tmp_path, monkeypatch):
  monkeypatch.setattr(export, "check_hands", _sees_a_hand)
  hands = small.columns(4, seed=3)
  path = str(tmp_path / "poses.npz")
  arrays = {"uv": hands["uv"], "z": hands["xyz"][..., 2], "picture": hands["image"][0]}
  np.savez(path, **arrays, source_uv=hands["uv"][0], source_z=hands["xyz"][0, :, 2])
  inputs = exported.read(path)
  assert {name: x.shape[0] for name, x in inputs.items()} == dict.fromkeys(exported.inputs, 4)
  outputs = jax.jit(exported.program)(exported.params, **inputs)
  assert exported.decode(path, outputs)["rgb"].shape == (4, small.SIZE, small.SIZE, 3)
  said = exported.save(path, outputs, tmp_path)
  assert said == "4 pictures, sheet.png and film.gif"
  with Image.open(tmp_path / "film.gif") as film:
    assert 1 <= film.n_frames <= 4  # equal pictures are one
  write_program(tmp_path / "program.jax", exported, platforms=("cpu",))
  program = jax.export.deserialize(bytearray((tmp_path / "program.jax").read_bytes()))
  assert {"tpu", "cuda", "cpu"} >= set(program.platforms)


def test_poses_that_cannot_be_drawn_are_one_line(tmp_path, monkeypatch):
  monkeypatch.setattr(export, "check_hands", _sees_a_hand)
  read = functools.partial(export.read_poses, small.SIZE, far=700.0)
  hands, many = small.columns(2, seed=3), small.columns(16, seed=3)
  stb, rhd = np.argsort(STB_ORDER), np.argsort(RHD_ORDER)
  good = {"uv": hands["uv"], "z": hands["xyz"][..., 2], "picture": hands["image"][0]}
  good |= {"source_uv": hands["uv"][0], "source_z": hands["xyz"][0, :, 2]}
  poses = list(zip(many["uv"], many["xyz"][..., 2], strict=True))  # of some RHD's order is told by one pose
  told = next(x for x in poses if order_of(joints_before(x[0][rhd], x[1][rhd])) == "RHD_ORDER")
  nan = good["uv"].copy()
  nan[1, 4] = np.nan
  four = small.columns(4, seed=3)  # of the source and one target the order is not sure
  own = {
    "uv": four["uv"],
    "z": four["xyz"][..., 2],
    "source_uv": four["uv"][0],
    "source_z": four["xyz"][0, :, 2],
  }
  np.savez(tmp_path / "good.npz", **{**good, **own})
  assert read(str(tmp_path / "good.npz"))["uv"].shape == (4, 21, 2)
  np.savez(tmp_path / "one.npz", **{**good, "uv": good["uv"][0], "z": good["z"][0]})
  assert read(str(tmp_path / "one.npz"))["uv"].shape == (1, 21, 2)
  cases = {
    "has no 'source_z'": {"source_z": None},
    r"index_1 of row 0 is at .* far outside|far outside of a picture": {"uv": good["uv"] + 60},
    "of row 1 is not finite": {"uv": nan},
    "multiply metres by 1000": {"z": good["z"] / 1000},
    "50 % of the hands are 700 mm away or more": {"z": good["z"] + np.float32([[0], [400]])},
    "^uv of .* order of STB_ORDER": {"uv": many["uv"][:, stb], "z": many["xyz"][:, stb, 2]},
    "^uv of .* order of RHD_ORDER": {"uv": many["uv"][:, rhd], "z": many["xyz"][:, rhd, 2]},
    "^source_uv of .* RHD_ORDER": {"source_uv": told[0][rhd], "source_z": told[1][rhd]},
    "give uv in pixels of the picture": {"uv": good["uv"] / small.SIZE},
    "there are no poses": {"uv": good["uv"][:0], "z": good["z"][:0]},
    r"'uv' is \[2, 20, 2\]": {"uv": good["uv"][:, :20]},
    "'picture' is float32: it must be uint8": {"picture": good["picture"].astype(np.float32)},
  }
  for message, changes in cases.items():
    arrays = {name: x for name, x in {**good, **changes}.items() if x is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
      read(str(tmp_path / "bad.npz"))
    assert "\n" not in str(caught.value), message


def test_a_source_without_a_hand_is_refused(tmp_path, monkeypatch):
  def refuse(pictures, names):
    raise ValueError(f"{names[0]} shows no hand")

  monkeypatch.setattr(export, "check_hands", refuse)
  hands = small.columns(2, seed=3)
  arrays = {"uv": hands["uv"], "z": hands["xyz"][..., 2], "picture": hands["image"][0]}
  np.savez(tmp_path / "a.npz", **arrays, source_uv=hands["uv"][0], source_z=hands["xyz"][0, :, 2])
  with pytest.raises(ValueError, match=r"a.npz shows no hand"):
    export.read_poses(small.SIZE, str(tmp_path / "a.npz"))


def test_test_pairs_are_of_one_identity_and_of_other_hands(tmp_path):
  for source in ("random", "nearest"):
    recipe = recipe_of(small.config(tmp_path, **{"report.source": source}))
    inputs = read_inputs(recipe)
    pairs, hands = inputs.tests["test"], small.columns()
    where = [int(np.argmax([(x == y).all() for y in hands["image"]])) for x in pairs["source"]]
    own = [int(np.argmax([(x == y).all() for y in hands["image"]])) for x in pairs["image"]]
    assert (hands["identity"][where] == hands["identity"][own]).all()
    assert all(a != b for a, b in zip(where, own, strict=True))
    assert hands["test"][own].all() and hands["test"][where].all() == (source == "random")
    assert len(inputs.train["image"]) == 12 and not hands["test"][inputs.train["candidates"]].any()
