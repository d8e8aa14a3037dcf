"""Every row of an epoch comes up once, a labelled positive every so many; trusted rows apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data import pu_batches, pu_split

LABELLED = jnp.arange(100, 110, dtype=jnp.int32)
UNLABELLED = jnp.arange(57, dtype=jnp.int32)
ORDER = jnp.concatenate([jnp.arange(50, 57), jnp.arange(50)]).astype(jnp.int32)  # 7 trusted ones first


@jax.jit
def _epoch(epoch, student, interleave, n_trusted, shuffled=True):
  return pu_batches.draw_pu(
    jnp.arange(60), epoch=epoch, order=jnp.uint32(5), student=student, labelled_rows=LABELLED,
    unlabelled_rows=UNLABELLED, interleave=interleave, trusted_order=ORDER, n_trusted=n_trusted,
    shuffled=shuffled,
  )  # fmt: skip


def test_an_epoch_visits_every_labelled_row_and_unlabelled_ones_at_most_once():
  draw = _epoch(jnp.int32(2), jnp.int32(0), jnp.int32(6), jnp.int32(0))
  labelled = np.asarray(draw.labelled)
  np.testing.assert_array_equal(np.flatnonzero(labelled), np.arange(0, 60, 6))
  np.testing.assert_array_equal(np.sort(draw.row[labelled]), LABELLED)
  unlabelled = np.asarray(draw.row)[~labelled]
  assert len(unlabelled) == 50 and len(set(unlabelled)) == 50 and unlabelled.max() < 57
  other = _epoch(jnp.int32(3), jnp.int32(0), jnp.int32(6), jnp.int32(0))
  assert (np.asarray(other.row) != draw.row).mean() > 0.8
  # The students of a run see other orders.
  assert (
    np.asarray(_epoch(jnp.int32(2), jnp.int32(1), jnp.int32(6), jnp.int32(0)).row) != draw.row
  ).mean() > 0.8


def test_trusted_rows_leave_the_unlabelled_ones_and_keep_to_themselves():
  draw = _epoch(jnp.int32(0), jnp.int32(0), jnp.int32(6), jnp.int32(7))
  unlabelled = np.asarray(draw.row)[~np.asarray(draw.labelled)]
  assert sorted(unlabelled) == list(range(50))
  trusted = jax.jit(
    lambda n: pu_batches.draw_trusted(
      jnp.arange(12), epoch=jnp.int32(0), order=jnp.uint32(5), student=jnp.int32(0),
      unlabelled_rows=UNLABELLED, trusted_order=ORDER, n_trusted=n,
    )
  )  # fmt: skip
  found = trusted(jnp.int32(7))
  np.testing.assert_array_equal(found.mask, np.arange(12) < 7)
  assert sorted(np.asarray(found.row[:7])) == list(range(50, 57))
  assert not trusted(jnp.int32(0)).mask.any()  # a student without trusted rows


def test_unshuffled_as_released_is_in_order():
  draw = _epoch(jnp.int32(0), jnp.int32(0), jnp.int32(6), jnp.int32(0), shuffled=False)
  np.testing.assert_array_equal(draw.item[~np.asarray(draw.labelled)], np.asarray(ORDER)[:50])


def test_validation_rows_come_round_and_round():
  rows = jnp.arange(200, 210, dtype=jnp.int32)
  options = {"order": jnp.uint32(1), "student": jnp.int32(0), "rows": rows}
  draw = jax.jit(lambda place, epoch=0: pu_batches.draw_validation(place, epoch=jnp.int32(epoch), **options))
  found = np.asarray(draw(jnp.arange(30)))
  for i in range(3):
    assert sorted(found[10 * i : 10 * i + 10]) == list(range(200, 210))
  assert (found[:10] != found[10:20]).any()
  np.testing.assert_array_equal(draw(jnp.arange(20, 50))[:10], found[20:])
  assert (np.asarray(draw(jnp.arange(30), 1)) != found).any()  # an epoch does not repeat the one before


POSITIVE = np.random.default_rng(0).random(300) < 0.4


def _split(scenario, seed=0, candidates=POSITIVE):
  asked = {"n_labelled": 30, "validation_rows": 60, "validation_labelled": 10}
  found = pu_split.sizes(300, int(candidates.sum()), scenario=scenario, **asked)
  drawn = pu_split.draw_split(jax.random.key(seed), candidates, found, scenario=scenario)
  return found, {name: np.asarray(x) for name, x in drawn.items()}


def test_drawn_labels_leave_the_labelled_rows_among_the_unlabelled():
  found, drawn = _split(pu_split.DRAWN)
  assert found == (30, 240, 60, 10)
  assert POSITIVE[drawn["labelled"]].all() and len(set(drawn["labelled"])) == 30
  np.testing.assert_array_equal(np.sort(np.r_[drawn["unlabelled"], drawn["validation"]]), np.arange(300))
  assert set(drawn["labelled"]) <= set(drawn["unlabelled"])  # the two-sample setting
  known = drawn["validation"][drawn["validation_labelled"]]
  assert len(known) == 10 and POSITIVE[known].all() and drawn["validation_unlabelled"].all()
  assert set(_split(pu_split.DRAWN, seed=1)[1]["labelled"]) != set(drawn["labelled"])


@pytest.mark.parametrize("scenario", pu_split.SCENARIOS)
def test_given_labels_are_kept(scenario):
  labelled = POSITIVE & (np.arange(300) % 3 == 0)
  found, drawn = _split(scenario, candidates=labelled)
  share = round(labelled.sum() * 60 / 300)
  assert found.labelled == labelled.sum() - share and drawn["validation_labelled"].sum() == share
  assert labelled[drawn["labelled"]].all()
  assert labelled[drawn["validation"][drawn["validation_labelled"]]].all()
  outside = set(range(300)) - set(drawn["validation"])
  if scenario == "case_control":
    outside -= set(np.flatnonzero(labelled))
    assert (drawn["validation_unlabelled"] != drawn["validation_labelled"]).all()
  assert set(drawn["unlabelled"]) == outside and len(drawn["unlabelled"]) == found.unlabelled


@pytest.mark.parametrize("change,words", [
  ({"n_labelled": 500}, "500 labelled positives are asked for"),
  ({"validation_rows": 151}, "rows 151 is more than half of the 300 rows: take at most 150, or 0"),
  ({"validation_labelled": 60}, "60 of them"),
])  # fmt: skip
def test_splits_that_cannot_be_are_refused(change, words):
  options = {"n_labelled": 30, "validation_rows": 60, "validation_labelled": 10}
  with pytest.raises(ValueError, match=words):
    pu_split.sizes(300, 120, scenario=pu_split.DRAWN, **{**options, **change})


@pytest.mark.parametrize("n,expected", [(398, 79), (9, 2), (60_000, 1000)])
def test_validation_takes_a_fifth_by_default(n, expected):
  found = pu_split.sizes(
    n, n // 3, n_labelled=1, validation_rows=0, validation_labelled=1, scenario="single_training_set"
  )
  assert found.validation == expected


@pytest.mark.parametrize(
  "labelled,unlabelled,expected", [(19, 111, 28), (1000, 60_000, 256), (10, 5000, 501)]
)
def test_a_batch_size_that_suits_the_rows(labelled, unlabelled, expected):
  assert pu_batches.fitting_batch_size(labelled, unlabelled) == expected
