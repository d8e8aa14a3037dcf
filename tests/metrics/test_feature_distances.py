"""Distances of sets of features: closed forms, scipy, torchmetrics (pictures.npz), and statistics."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from vita_jax import metrics
from vita_jax.metrics import (
  frechet_distance,
  frechet_of_features,
  kernel_distance,
  paired_kernel_distance,
  sliced_wasserstein,
)

FILE = Path(__file__).parent / "fixtures" / "pictures.npz"


@pytest.fixture(scope="module")
def known():
  with np.load(FILE, allow_pickle=False) as file:
    return {name: file[name] for name in ("x", "y", "kernel_distance", "frechet")}


def test_frechet_distances_in_closed_form():
  d = 5
  mean = np.arange(d) / 3
  np.testing.assert_allclose(frechet_distance(mean * 0, np.eye(d), mean, np.eye(d)), (mean**2).sum())
  np.testing.assert_allclose(frechet_distance(mean, np.eye(d), mean, 4 * np.eye(d)), d)  # d (1 + 4 - 2 * 2)
  # matrices that commute: sum of (sqrt a - sqrt b)^2 over their common eigenvectors
  q = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
  a, b = np.array([0.0, 1, 2, 3, 4]), np.array([4.0, 0, 1, 9, 0])
  found = frechet_distance(mean, q * a @ q.T, mean, q * b @ q.T)
  np.testing.assert_allclose(found, ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), atol=1e-7)


def test_frechet_distance_is_that_of_scipy(known):
  x, y = known["x"], known["y"]
  np.testing.assert_allclose(frechet_of_features(x, y), known["frechet"], rtol=1e-9)
  a, b = metrics.feature_moments(x), metrics.feature_moments(y)
  root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
  expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
  np.testing.assert_allclose(
    frechet_distance(a.mean, a.covariance, b.mean, b.covariance), expected, rtol=1e-9
  )
  np.testing.assert_allclose(frechet_of_features(x, y), frechet_of_features(y, x), rtol=1e-9)
  assert abs(frechet_of_features(x, x)) < 1e-12 and a.rows == 40


def test_few_rows_are_warned_of_and_exact():
  """With n <= d the sum of singular values is the trace that the singular covariances have."""
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(6, 10)), rng.normal(size=(9, 10)) + 1
  with pytest.warns(RuntimeWarning, match="6 and 9 rows of 10 features: a covariance of so few rows"):
    found = frechet_of_features(x, y)
  a, b = metrics.feature_moments(x), metrics.feature_moments(y)
  expected = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    frechet_of_features(rng.normal(size=(11, 10)), rng.normal(size=(11, 10)))


def test_kernel_distance_is_that_of_torchmetrics(known):
  found = kernel_distance(known["x"], known["y"])
  np.testing.assert_allclose(found.distance, known["kernel_distance"], rtol=1e-10)
  whole = metrics.kernel_distance_subsets(known["x"], known["y"], size=40, subsets=2)
  np.testing.assert_allclose(whole, known["kernel_distance"], rtol=1e-10)


def test_kernel_distance_is_the_sum_over_pairs_with_unlike_numbers():
  rng = np.random.default_rng(2)
  x, y = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))

  def kernel(u, v):
    return (u @ v / 3 + 1) ** 3

  def within(z):
    pairs = [kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
    return np.mean(pairs)

  def distance(x, y):
    return within(x) + within(y) - 2 * np.mean([kernel(u, v) for u in x for v in y])

  found = kernel_distance(x, y)
  np.testing.assert_allclose(found.distance, distance(x, y), rtol=1e-10)
  left_out = [
    [distance(np.delete(x, i, 0), y) for i in range(5)],
    [distance(x, np.delete(y, i, 0)) for i in range(7)],
  ]
  variance = sum((len(v) - 1) / len(v) * ((np.array(v) - np.mean(v)) ** 2).sum() for v in left_out)
  np.testing.assert_allclose(found.error, np.sqrt(variance), rtol=1e-8)


def test_kernel_distance_has_no_bias_and_its_error_is_what_it_varies_by():
  rng = np.random.default_rng(3)
  found = [kernel_distance(rng.normal(size=(30, 6)), rng.normal(size=(45, 6)) + 0.4) for _ in range(200)]
  values = np.array([x.distance for x in found])
  same = np.array([kernel_distance(*rng.normal(size=(2, 30, 6))).distance for _ in range(200)])
  assert abs(same.mean()) < 4 * same.std() / np.sqrt(200) and (same < 0).any()
  errors = np.sqrt(np.mean([x.error**2 for x in found]))
  assert 0.75 < errors / values.std() < 1.35


def test_paired_rows_of_one_source_have_no_part_in_the_kernel_distance():
  """Pictures and the targets of the same photographs: k(x_i, y_i) is large, and would pull the mean down."""
  rng = np.random.default_rng(7)
  photo = np.repeat(np.arange(8), 3)
  x, y = rng.normal(size=(2, 24, 5))

  def distance(x, y, photo):
    def kernel(u, v):
      return (u @ v / 5 + 1) ** 3

    others = [(i, j) for i in range(len(x)) for j in range(len(x)) if photo[i] != photo[j]]
    return np.mean([kernel(x[i], x[j]) + kernel(y[i], y[j]) - 2 * kernel(x[i], y[j]) for i, j in others])

  found = paired_kernel_distance(x, y, photo)
  np.testing.assert_allclose(found.distance, distance(x, y, photo), rtol=1e-10)
  left_out = np.array([distance(*(z[photo != k] for z in (x, y, photo))) for k in range(8)])
  expected = np.sqrt(7 / 8 * np.sum((left_out - left_out.mean()) ** 2))
  np.testing.assert_allclose(found.error, expected, rtol=1e-8)
  assert paired_kernel_distance(x, x).distance == 0 > kernel_distance(x, x).distance


def test_the_paired_kernel_distance_has_no_bias_where_partners_are_alike():
  rng = np.random.default_rng(8)
  sets = []
  for _ in range(150):  # both sides of one distribution, partners close to each other
    source = rng.normal(size=(20, 6))
    sets.append([0.9 * source + np.sqrt(1 - 0.9**2) * rng.normal(size=(20, 6)) for _ in "ab"])
  paired, plain = (
    np.array([f(*pair).distance for pair in sets]) for f in (paired_kernel_distance, kernel_distance)
  )
  assert abs(paired.mean()) < 4 * paired.std() / np.sqrt(150)
  assert plain.mean() < -10 * plain.std() / np.sqrt(150)


def test_pairs_that_cannot_be_are_refused():
  x = np.random.default_rng(0).normal(size=(6, 3))
  with pytest.raises(ValueError, match="6 and 5 rows are no pairs"):
    paired_kernel_distance(x, x[:5])
  with pytest.raises(ValueError, match="5 groups for 6 rows"):
    paired_kernel_distance(x, x, np.arange(5))
  with pytest.raises(ValueError, match="at least 3 groups, there are 2"):
    paired_kernel_distance(x, x, np.arange(6) // 3)


def test_subsets_are_seeded_and_centred_on_the_whole():
  x, y = np.random.default_rng(4).normal(size=(2, 100, 6)) + np.array([0, 0.5])[:, None, None]
  one, again, other = (metrics.kernel_distance_subsets(x, y, size=30, seed=s) for s in (0, 0, 1))
  np.testing.assert_array_equal(one, again)
  assert not np.array_equal(one, other)
  assert abs(one.mean() - kernel_distance(x, y).distance) < 5 * one.std() / np.sqrt(len(one))


def test_sliced_wasserstein_in_closed_form():
  rng = np.random.default_rng(5)
  x = rng.normal(size=(40, 16))
  move = rng.normal(size=16)
  # |v| / sqrt(d), up to the error of 4,000 directions
  np.testing.assert_allclose(
    sliced_wasserstein(x, x + move, directions=4000), np.linalg.norm(move) / 4, rtol=0.03
  )
  assert sliced_wasserstein(x, x[rng.permutation(40)]) < 1e-12
  # each row three times is the same distribution, whatever the numbers of rows
  assert sliced_wasserstein(np.repeat(x, 3, axis=0), np.repeat(x, 2, axis=0)) < 1e-7
  line, other = np.array([[0.0], [1], [2]]), np.array([[0.0], [2]])
  # quantiles: 0 | 1 | 2 on thirds, 0 | 2 on halves: they differ by 1 between 1/3 and 2/3
  np.testing.assert_allclose(sliced_wasserstein(line, other, order=1.0), 1 / 3)
  np.testing.assert_allclose(sliced_wasserstein(line, other, order=2.0), 3**-0.5)


def test_one_dimension_is_that_of_scipy():
  from scipy.stats import wasserstein_distance

  rng = np.random.default_rng(6)
  x, y = rng.normal(size=(13, 1)), rng.normal(size=(8, 1)) * 2
  expected = wasserstein_distance(x[:, 0], y[:, 0])
  np.testing.assert_allclose(sliced_wasserstein(x, y, order=1.0), expected)


@pytest.mark.parametrize("distance", [frechet_of_features, kernel_distance, sliced_wasserstein])
def test_features_that_cannot_be_compared_are_refused_in_one_line(distance):
  x = np.zeros((5, 3))
  for a, b, message in (
    (x, x[:, :2], "3 and 2 features: take both from one network"),
    (x[:1], x, r"at least two rows, they are \[1, 3\]"),
    (np.where(np.arange(5)[:, None] == 2, np.nan, x), x, "1 of 5 rows of features are not finite"),
  ):
    with pytest.raises(ValueError, match=message) as error:
      distance(a, b)
    assert "\n" not in str(error.value)
  with pytest.raises(ValueError, match="must be from 2 to the rows of the smaller set, 5"):
    metrics.kernel_distance_subsets(x, x, size=6)
  with pytest.raises(ValueError, match="must be"):
    frechet_distance(np.zeros(3), np.eye(3), np.zeros(3), np.eye(2))
