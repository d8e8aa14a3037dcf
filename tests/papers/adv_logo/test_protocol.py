"""The test of a logo: what counts, what is dropped and why, and numbers in closed form."""

import functools

import numpy as np
import pytest
from papers.adv_logo import small

from vita_jax.papers.adv_logo import protocol
from vita_jax.papers.adv_logo.data import photographs, read_inputs
from vita_jax.papers.adv_logo.protocol import Outcome, numbers, precision_of, spoiled
from vita_jax.papers.adv_logo.recipe import Trial, recipe_of
from vita_jax.papers.adv_logo.report import angle_table, by_angle

PLAIN = Trial("surface", (0.0,), 0.05, 0, 0.0, 0.0)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
  """(recipe, inputs, detector) of the small scene."""
  recipe = recipe_of(small.config(tmp_path_factory.mktemp("photographs")))
  return recipe, read_inputs(recipe), small.load("bright")


def test_white_is_seen_and_black_hides_the_body(case):
  recipe, inputs, detector = case
  black, white = (np.full((1, 24, 16, 3), v, np.float32) for v in (0.0, 1.0))
  hidden, seen = (protocol.measure(detector, x, inputs, recipe.test) for x in (black, white))
  assert hidden.kept.any() and hidden.dropped == seen.dropped
  assert hidden.score[hidden.kept].mean() < seen.score[seen.kept].mean() - 0.2
  assert not seen.hidden[seen.kept].any() and not seen.unmatched[seen.kept].any()
  found = numbers(seen, inputs)
  assert found["success_10"] == found["matched_10"] == 0.0 and found["ap_10"] > 0.9
  assert numbers(hidden, inputs)["score_10"] < found["score_10"] - 0.2
  assert found["threshold"] == hidden.threshold < seen.score.min()


def test_photographs_bodies_and_pictures_that_tell_nothing_are_dropped_and_counted(case, monkeypatch):
  recipe, inputs, detector = case
  shape = len(inputs.test.angle), len(inputs.held_out.names)
  clean = np.full(shape, 0.9)
  clean[inputs.test.body == 1] = 0.1  # never seen
  clean[0, 1] = 0.2
  known = protocol.Control(0.5, np.array([0.1, 0.2, 0.7]), clean)
  monkeypatch.setattr(protocol, "control", lambda *_: known)
  found = protocol.measure(detector, np.zeros((1, 24, 16, 3), np.float32), inputs, recipe.test)
  assert found.dropped == {"photographs": 1, "bodies": 1, "pictures": 1}
  assert found.alarming == (inputs.held_out.names[2],)
  assert not found.kept[:, 2].any() and not found.kept[inputs.test.body == 1].any() and not found.kept[0, 1]
  assert found.kept.sum() == 3 * 2 - 1


def _outcome(score, angle, body=None, **changes):
  """Pictures with one box each, on the body; threshold 0.5."""
  score = np.asarray(score, np.float64)
  truth = np.broadcast_to(np.array([0.0, 0, 10, 20]), (*score.shape, 4))
  base = Outcome(
    score=score,
    kept=np.ones(score.shape, bool),
    hidden=score <= 0.5,
    unmatched=score <= 0.5,
    scores=score[..., None],
    boxes=truth[..., None, :],
    truth=truth,
    body=np.zeros(len(score), int) if body is None else np.array(body),
    angle=np.array(angle, float),
    dropped={"photographs": 0, "bodies": 0, "pictures": 0},
    alarming=(),
    threshold=0.5,
  )
  return base._replace(**changes)


class _Inputs:
  n_trained, bodies = 1, (None, None)


def test_rates_by_angle_and_body_in_closed_form():
  outcome = _outcome([[0.1, 0.9], [0.2, 0.3], [0.9, 0.9], [0.1, 0.1]], [0, -20, 45, 10], body=[0, 0, 0, 1])
  found = numbers(outcome, _Inputs)
  assert found["success_10"] == 0.5 and found["success_20"] == 1.0 and found["success_30"] == 0.75
  assert found["success_45"] == 0.5 and found["unseen_10"] == 1.0 and found["score_10"] == 0.5
  assert found["ap_10"] == 1.0 and found["pictures"] == 8
  text = angle_table({"bright": by_angle(outcome, _Inputs)})
  assert "| bright, trained bodies | 100 (2) | 50 (2) |  | 0 (2) |" in text


def test_where_nothing_counts_there_is_no_rate():
  found = numbers(_outcome([[0.1]], [0], kept=np.array([[False]])), _Inputs)
  assert found["success_10"] is None and found["ap_10"] is None and found["pictures"] == 0


def test_a_detection_beside_the_body_is_a_success_by_overlap_only():
  away = np.array([[[[30.0, 0, 40, 20]]]])
  outcome = _outcome([[0.9]], [0], boxes=away, unmatched=np.array([[True]]))
  found = numbers(outcome, _Inputs)
  assert (found["success_10"], found["matched_10"], found["ap_10"]) == (0.0, 1.0, 0.0)
  assert precision_of(outcome, outcome.kept) == 0.0


@pytest.mark.parametrize("change", [{"jpeg": 50}, {"blur": 2.0}, {"brightness": 0.1}])
def test_pictures_are_spoiled_as_asked(change):
  pictures = np.random.default_rng(0).random((2, 16, 16, 3), np.float32) * 0.8
  assert spoiled(pictures, PLAIN) is pictures
  found = spoiled(pictures, PLAIN._replace(**change))
  assert (
    found.shape == pictures.shape and found.dtype == np.float32 and 0.01 < np.abs(found - pictures).mean()
  )
  if "brightness" in change:
    np.testing.assert_allclose(found, pictures + 0.1, atol=0.01)
  if "blur" in change:
    assert found.std() < 0.5 * pictures.std()


def test_photographs_are_split_by_their_names_and_never_shared(tmp_path):
  recipe = recipe_of(small.config(tmp_path))
  trained, held_out = photographs(recipe)
  assert not set(trained.names) & set(held_out.names)
  assert trained.pictures.shape == (5, 64, 64, 3) and trained.pictures.dtype == np.uint8
  fewer, same = photographs(recipe._replace(backgrounds=recipe.backgrounds._replace(train=2)))
  assert fewer.names == trained.names[:2] and same.names == held_out.names


def _too_few(folder):
  next(folder.glob("*.png")).unlink()
  return "has 7 photographs: config.backgrounds.train \\+ test is 8, lower them"


def _twice(folder, names):
  (folder / names[1]).write_bytes((folder / names[0]).read_bytes())
  return "are one photograph"


def test_bad_folders_of_photographs_are_named_in_one_line(tmp_path):
  recipe = recipe_of(small.config(tmp_path))
  trained, held_out = photographs(recipe)
  for spoil in (functools.partial(_twice, names=(trained.names[0], held_out.names[0])), _too_few):
    message = spoil(tmp_path / "photographs")
    with pytest.raises(ValueError, match=message) as caught:
      photographs(recipe)
    assert "\n" not in str(caught.value)
