"""OKS and PCK: closed forms, and what counts."""

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.metrics import divide
from vita_jax.metrics.keypoints import near, oks, oks_terms, pck, pck_auc
from vita_jax.pose.skeletons import COCO

AREA = np.array(1e4)  # a person of 100 x 100 pixels
ZERO = np.zeros((17, 2))


def test_the_golden_similarities():
  found = oks_terms(ZERO + [6.0, 8.0], ZERO, AREA, COCO.sigmas)  # 10 pixels: 0.1 sqrt(area)
  np.testing.assert_allclose(found[[0, 9, 11]], [0.1574, 0.7224, 0.8966], atol=5e-5)
  for library in (np, jnp):
    for pixels, expected in ((5.0, 0.8712), (10.0, 0.6470), (20.0, 0.3311)):
      value = oks(library.asarray(ZERO + [pixels, 0]), ZERO, np.ones(17), AREA, COCO.sigmas)
      assert float(value) == pytest.approx(expected, abs=5e-5)


def test_only_labelled_keypoints_count():
  visible = np.zeros(17)
  visible[[0, 9]] = 1, 2
  found = oks(ZERO + [10.0, 0], ZERO, visible, AREA, COCO.sigmas)
  assert float(found) == pytest.approx((0.1574 + 0.7224) / 2, abs=5e-5)
  assert float(oks(ZERO, ZERO, np.zeros(17), AREA, COCO.sigmas)) == 0
  nowhere = np.where(visible[:, None] > 0, ZERO, np.nan)
  assert float(oks(ZERO, nowhere, visible, AREA, COCO.sigmas)) == 1


def test_batches_have_an_area_each():
  truth = np.random.default_rng(0).uniform(0, 100, (3, 17, 2))
  areas = np.array([1e3, 1e4, 1e5])
  found = oks(truth + 3.0, truth, np.ones((3, 17)), areas, COCO.sigmas)
  one = [float(oks(truth[i] + 3.0, truth[i], np.ones(17), areas[i], COCO.sigmas)) for i in range(3)]
  np.testing.assert_allclose(found, one)


def test_pck_counts_labelled_keypoints_of_persons_with_a_length():
  truth = jnp.zeros((3, 2, 2))
  joints = truth.at[:, 0, 0].set(2.0).at[:, 1, 0].set(2.1)
  visible = jnp.array([[1, 1], [1, 0], [1, 1]])
  length = jnp.array([10.0, 10.0, 0.0])  # of the last one it is unknown
  assert divide({"pck": pck(joints, truth, visible, length)}) == {"pck": pytest.approx(2 / 3)}
  assert divide({"pck": pck(joints, truth, visible, length, mask=jnp.array([0, 1, 1]))}) == {"pck": 1}
  np.testing.assert_array_equal(
    near(np.array([[[3.0, 4.0]]]), np.zeros((1, 1, 2)), np.array([10.0]), threshold=0.5), [[True]]
  )


def test_the_area_under_pck_has_its_closed_forms():
  """Thresholds linspace(0, 30, 20): one is 30 / 19."""
  for away, area in ((0, 1), (10, 12.5 / 19), (15, 0.5), (30, 0.5 / 19), (30.1, 0)):
    assert pck_auc(np.full((5, 21), float(away))) == pytest.approx(area, abs=1e-12)
  mixed = np.array([[0.0, 15.0], [40.0, 15.0]])
  assert pck_auc(mixed) == pytest.approx(0.5)
  assert pck_auc(mixed, np.array([[1, 1], [0, 1]])) == pytest.approx(0.75)
  assert pck_auc(mixed, np.array([[1, 0], [0, 0]])) == 1
  assert pck_auc(np.full((5, 21), 25.0), limit=50) == pytest.approx(0.5)
  assert pck_auc(np.full((2, 3), np.nan)) == 0  # a joint that was not found is wrong
  with pytest.raises(ValueError, match=r"distances are \[n, K\]"):
    pck_auc(np.zeros(4))
