"""Representations that give an attribute away where a careless audit finds nothing, or the reverse."""

import numpy as np
import pytest

from vita_jax import audit
from vita_jax.audit import Options, rows, text

FAST = Options(attackers="fast", n_jobs=1)
N = 900
RNG = np.random.default_rng(0)
S, NOISE = RNG.integers(0, 2, N), RNG.normal(size=N)


def _of(z, values, **more):
  z = z[:, None] if np.ndim(z) == 1 else z
  return audit.audit(z, private={"s": values}, **{"options": FAST, **more})


@pytest.mark.parametrize("column", [1_600_000_000 + 60 * S, 1 + 1e-9 * S], ids=["offset", "tiny"])
def test_nothing_is_rounded_before_it_is_centred(column):
  found = _of(np.stack([column.astype(np.float64), NOISE], 1), S)
  by_name = {a["name"]: a["auc"] for a in found["private"]["s"]["attackers"]}
  assert by_name["logistic, C 1"] == by_name["boosting, rate 0.1"] == 1.0
  assert not found["collapsed"]


BIG = np.stack([1_600_000_000_000_000_000 + 100 * S, 2**60 + np.arange(N)], 1)


@pytest.mark.parametrize(
  "column",
  [BIG[:, 0], 2**60 + S, 2**50 + S, np.uint64(2**63) + S.astype(np.uint64), np.where(S, 2**62, -(2**62))],
  ids=["nanoseconds", "2^60", "2^50", "uint64", "range"],
)
def test_whole_numbers_far_from_zero_are_not_rounded(column):
  z = np.stack([column, np.zeros_like(column)], 1)
  found = _of(z, S)
  assert found["private"]["s"]["strongest"]["auc"] == 1.0 and not found["collapsed"]
  named = _of(S.astype(float), column)["private"]["s"]
  assert named["classes"] == [str(x) for x in np.unique(column)] and named["strongest"]["auc"] == 1.0


def test_a_value_of_whole_numbers_far_from_zero_is_found_and_its_bins_named():
  value = 2**60 + (100 * (NOISE - NOISE.min())).astype(np.int64)
  found = _of(NOISE, value)["private"]["s"]
  assert found["strongest"]["r2"] > 0.98 and found["bins"]["classes"][0].startswith("up to 11529215046068")
  with pytest.raises(ValueError, match="one value only"):
    _of(NOISE, audit.Private(np.full(N, 2**60), ()))


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_whole_numbers_of_files_are_not_rounded(tmp_path, suffix):
  path = str(tmp_path / f"z.{suffix}")
  if suffix == "npz":
    np.savez(path, z=BIG[:, :1], value=BIG[:, 1])
  else:
    np.savetxt(path, BIG, "%d", ",", header="x,value", comments="")
  z = audit.read_matrix(path, without=["number(value)"])
  assert _of(z, S)["private"]["s"]["strongest"]["auc"] == 1.0
  _, values, classes = audit.read_labels("number(value)", path, n_rows=N)
  assert classes == () and len(np.unique(values)) == N
  _, values, _ = audit.read_labels(f"value >= {2**60 + 5}", path, n_rows=N)
  np.testing.assert_array_equal(values, np.arange(N) >= 5)


@pytest.mark.parametrize("column", [1e300 * (1 + 0.1 * S), 1e307 * (1 + S), 1e-310 * (1 + S), 5e-324 * S])
def test_no_size_overflows(column):
  found = _of(column, S)
  assert found["private"]["s"]["strongest"]["auc"] == 1.0 and not found["collapsed"]
  beside = rows.scale(np.stack([column, np.full(N, 3.0), 1e-320 * NOISE], 1))
  assert np.isfinite(beside.exact).all() and beside.raw.std(0).max() == pytest.approx(1, rel=1e-4)


def test_scaling_by_powers_of_two_changes_no_digit():
  z = RNG.normal(size=(N, 3)) * [1e-7, 1, 1e6] + [5, 0, 1e9]
  deviation = (z - z.mean(0)).std(0)
  found = rows.scale(z)
  np.testing.assert_array_equal(found.exact, (z - z.mean(0)) / deviation)
  np.testing.assert_array_equal(found.raw, ((z - z.mean(0)) / deviation.max()).astype(np.float32))


def test_a_collapse_without_a_target_says_what_it_is():
  found = _of(np.zeros((N, 2)), S)
  assert "COLLAPSED: nothing in the representation varies" in text.headlines(found)[0]
  assert "the target" not in text.markdown(found, title="x") and found["collapsed"]


def test_a_scaled_column_keeps_its_place_beside_others_and_constants_are_zero():
  z = np.stack([1e9 + NOISE, 1e3 * NOISE, np.full(N, 0.1)], 1)
  found = rows.scale(z)
  np.testing.assert_allclose(found.exact[:, :2].std(0), 1, rtol=1e-6)
  np.testing.assert_allclose(found.raw.std(0), [1e-3, 1, 0], rtol=1e-4)
  assert not found.exact[:, 2].any() and found.standardised.dtype == np.float32


def test_the_class_that_is_worst_off_is_in_the_headline():
  """Five classes, of which a column flags the rarest: the mean hides it."""
  classes = RNG.choice(5, N, p=[0.3, 0.3, 0.22, 0.14, 0.04])
  told = _of(np.stack([(classes == 4) + 0.01 * NOISE, RNG.normal(size=N)], 1), classes)
  found = told["private"]["s"]
  assert found["strongest"]["auc"] < 0.75
  worst = found["worst_class"]
  assert worst["class"] == "4" and worst["auc"] > 0.99
  assert [one["class"] for one in found["each_class"]] == list("01234")
  line = text.headlines(told)[-1]
  assert "in the mean of 5, " in line and "; worst class '4' AUC 1.000" in line
  assert "no interval: a class with" in line or "[" in line.split("worst")[1]


def test_a_class_of_many_rows_has_its_interval():
  classes = RNG.choice(3, N, p=[0.5, 0.3, 0.2])
  worst = _of((classes == 2) + 0.3 * NOISE, classes)["private"]["s"]["worst_class"]
  assert worst["class"] == "2" and worst["interval"][0] < worst["auc"] < worst["interval"][1] + 1e-9


def _persons(copies=3):
  """Rows of persons, each `copies` times, that have nothing to do with the attribute; (z, s, ids)."""
  z, s = RNG.normal(size=(N // copies, 4)), RNG.integers(0, 2, N // copies)
  return np.repeat(z, copies, 0), np.repeat(s, copies), np.repeat(np.arange(N // copies), copies)


def test_a_record_that_is_there_several_times_is_on_one_side():
  z, s, ids = _persons()
  apart = _of(z, s, options=FAST._replace(duplicates="apart"))
  assert apart["private"]["s"]["strongest"]["auc"] > 0.8  # what attackers know by heart is no leak
  together = _of(z, s)
  assert together["private"]["s"]["strongest"]["auc"] < 0.65
  assert together["same_records"]["groups"] == N // 3 and "300 groups" in text.headlines(together)[0]
  near = _of(z + 1e-8 * RNG.normal(size=z.shape), s)
  assert near["private"]["s"]["strongest"]["auc"] < 0.65 and near["same_records"]["rows"] == N


def test_rows_of_one_person_stay_on_one_side_of_a_drawn_and_of_a_given_split():
  z, s, ids = _persons()
  unlike = z + 0.01 * RNG.normal(size=z.shape)  # no two rows are the same
  assert _of(unlike, s)["private"]["s"]["strongest"]["auc"] > 0.8
  names = np.array([f"p{i}" for i in ids])
  found = _of(unlike, s, groups=names)
  assert found["private"]["s"]["strongest"]["auc"] < 0.65 and found["same_records"]["by"] == "groups"
  parts = {"train": np.arange(601), "validation": np.arange(601, 752), "test": np.arange(752, N)}
  given = _of(unlike, s, groups=names, parts=parts)
  assert given["same_records"]["left_out"] == 2 + 1  # of the persons that lie across the two borders
  assert given["rows"]["attacker_test"] == N - 752 - 1
  with pytest.raises(ValueError, match="groups have the shape"):
    _of(unlike, s, groups=names[:5])


def test_an_interval_is_no_narrower_for_copies_of_a_record():
  rng = np.random.default_rng(1)
  s = rng.integers(0, 2, 600)
  z = rng.normal(size=(600, 2)) + s[:, None] * 0.5
  parts = {"train": np.arange(300), "validation": np.arange(300, 450), "test": np.arange(450, 600)}
  times = 6
  copied = {k: (rows[:, None] * times + np.arange(times)).ravel() for k, rows in parts.items()}
  one = _of(z, s, parts=parts)["private"]["s"]
  many = _of(np.repeat(z, times, 0), np.repeat(s, times), parts=copied)["private"]["s"]
  width, narrow = (np.ptp(found["strongest"]["interval"]) for found in (one, many))
  assert 0.8 * width < narrow < 1.25 * width and width > 0.12


def test_near_rows_are_not_chained():
  x = np.array([[0.0], [0.8], [1.6], [5.0], [5.0]])
  assert rows.same_rows(x, distance=1.0).tolist() == [0, 0, 1, 2, 2]
  brute = RNG.integers(0, 12, (300, 2)) + 1e-3 * RNG.normal(size=(300, 2))
  found = rows.same_rows(brute, distance=0.1)
  for group in np.unique(found):  # clusters are far apart: exactly the cells of the grid
    assert len(np.unique(np.round(brute[found == group]), axis=0)) == 1
  assert len(np.unique(found)) == len(np.unique(np.round(brute), axis=0))


def test_a_representation_of_few_values_is_no_set_of_duplicates():
  found = _of(S.astype(float), S)
  assert found["private"]["s"]["strongest"]["auc"] == 1.0
  assert found["same_records"]["rows_apart"] == N and found["same_records"]["rows"] == 0

  assert (
    "upper figure: 900 equal rows" in text.headlines(found)[-1] and "--groups" in text.headlines(found)[-1]
  )
  assert "an upper figure" in text.markdown(found, title="x")


def test_records_repeated_often_are_records_as_long_as_enough_distinct_ones_remain():
  rng = np.random.default_rng(0)
  order = rng.permutation(2500)
  z = np.repeat(rng.normal(size=(100, 8)), 25, 0)[order]
  s = np.repeat(rng.integers(0, 2, 100), 25)[order]
  found = _of(z, s)
  assert found["private"]["s"]["strongest"]["auc"] < 0.75 and found["same_records"]["rows_apart"] == 0
  lines = text.headlines(found)
  assert "2500 rows in 100 groups" in lines[0] and "largest has 25 rows" in lines[0]
  assert "upper figure" not in lines[-1]


def test_one_value_of_most_rows_is_no_record():
  """Rows of one class are all zero, as of a unit that died: the others are distinct."""
  found = _of(np.where(S == 1, 3.0 + NOISE, 0.0), S)
  assert found["private"]["s"]["strongest"]["auc"] > 0.99
  assert found["same_records"]["rows_apart"] == np.sum(S == 0) and "upper figure" in text.headlines(found)[-1]


V = RNG.standard_t(2, N)


def test_the_size_of_a_value_gives_its_bins_away():
  told = _of(np.abs(V), V)
  found = told["private"]["s"]
  assert found["strongest"]["r2"] < 0.3  # the sign is not told
  assert found["bins"]["strongest"]["auc"] > 0.8 and found["bins"]["worst_class"]["auc"] > 0.97
  line = text.headlines(told)[-1]
  assert "; of its bin AUC 0." in line and "in the mean of 5" in line and "; worst bin '" in line


def test_the_rank_of_a_value_is_found_as_such():
  found = _of(np.argsort(np.argsort(V)).astype(float), V)["private"]["s"]
  assert found["rank"]["strongest"]["r2"] > 0.98 and found["bins"]["strongest"]["auc"] > 0.98


def test_a_value_far_from_zero_is_found():
  value = 1_600_000_000 + 20 * NOISE
  assert _of(NOISE, value)["private"]["s"]["strongest"]["r2"] > 0.98


def test_a_value_that_is_mostly_zero_has_fewer_bins():
  value = np.where(RNG.random(N) < 0.85, 0.0, np.exp(NOISE))
  bins = _of(value + 0.1 * NOISE, value)["private"]["s"]["bins"]
  assert bins["classes"][0] == "up to 0" and len(bins["classes"]) == 2


def test_the_utility_score_is_an_attacker():
  """Only the score that came with the representation tells the attribute: the headline has it."""
  target = (S + 0.6 * RNG.normal(size=N) > 0.5).astype(int)
  score = np.clip(0.8 * S + 0.1 + 0.02 * RNG.normal(size=N), 0, 1)
  found = audit.audit(
    RNG.normal(size=(N, 2)), private={"s": S}, target=audit.Target(target, {"head": score}), options=FAST
  )
  one = found["private"]["s"]
  assert found["utility"]["best"]["name"] == "head"
  assert one["strongest"]["name"] == "utility score" and one["score_alone"] == one["strongest"]["auc"] > 0.99


def test_which_way_round_is_decided_on_validation_rows():
  """A score that says nothing is as often below 0.5 as above it."""
  areas = []
  for seed in range(12):
    rng = np.random.default_rng(seed)
    question = audit.Question("classes", rng.integers(0, 2, 200), ("0", "1"))
    parts = {"validation": np.arange(100), "test": np.arange(100, 200)}
    score = rng.random(200)
    attacker, predictions = audit.findings.score_attacker(score, question, parts)
    areas.append(audit.findings.score_of(question, predictions, parts))
  assert min(areas) < 0.48 and abs(np.mean(areas) - 0.5) < 0.04


def test_the_sentence_about_adversaries_of_training_is_one():
  assert "new attackers find 0.040 more" in text._beside_training(0.6, 0.56)
  assert "more than the strongest new attacker: the leak is at least that" in text._beside_training(
    0.58, 0.617
  )
  assert "as much as new attackers" in text._beside_training(0.58, 0.581)
