"""OKS and PCK: closed forms, and what counts."""

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.metrics import divide
from vita_jax.metrics.keypoints import near, oks, oks_terms, pck
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
