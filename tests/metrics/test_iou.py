"""Confusion matrices and what comes of them: scikit-learn's numbers and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, jaccard_score
from sklearn.metrics import confusion_matrix as expected_matrix

from vita_jax import metrics

CLASSES = 5


def _draw(seed, shape=(6, 7)):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, CLASSES, shape)
  predicted = np.where(rng.random(shape) < 0.6, labels, rng.integers(0, CLASSES, shape))
  return predicted, np.where(rng.random(shape) < 0.2, 255, labels)


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_scikit_learn(seed):
  predicted, labels = _draw(seed)
  found = metrics.confusion_matrix(predicted, labels, CLASSES, ignore=255)
  jitted = jax.jit(lambda p, y: metrics.confusion_matrix(p, y, CLASSES, ignore=255))(predicted, labels)
  kept, true = predicted[labels != 255], labels[labels != 255]
  np.testing.assert_array_equal(found, expected_matrix(true, kept, labels=range(CLASSES)))
  np.testing.assert_array_equal(found, jitted)
  assert found.dtype == jnp.int32
  iou = jaccard_score(true, kept, average=None, labels=range(CLASSES))
  np.testing.assert_allclose(metrics.class_iou(found), iou)
  assert metrics.mean_iou(found) == pytest.approx(iou.mean())
  assert metrics.mean_class_accuracy(found) == pytest.approx(balanced_accuracy_score(true, kept))
  assert metrics.overall_accuracy(found) == pytest.approx(np.mean(kept == true))


def test_matrices_of_parts_add_up():
  predicted, labels = _draw(0)
  parts = [
    metrics.confusion_matrix(p, y, CLASSES, ignore=255) for p, y in zip(predicted, labels, strict=True)
  ]
  np.testing.assert_array_equal(sum(parts), metrics.confusion_matrix(predicted, labels, CLASSES, ignore=255))


def test_the_mean_over_classes_is_not_the_overall_share():
  labels = np.array([0] * 90 + [1] * 10)
  found = metrics.confusion_matrix(np.zeros(100, int), labels, 2)
  assert metrics.mean_class_accuracy(found) == 0.5 and metrics.overall_accuracy(found) == 0.9
  assert metrics.mean_iou(found) == pytest.approx(0.45)


def test_a_class_that_never_occurs_is_left_out_of_the_means():
  found = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
  np.testing.assert_array_equal(metrics.class_iou(found), [0.75, 0.8, np.nan])
  assert metrics.mean_iou(found) == pytest.approx(0.775)
  np.testing.assert_array_equal(metrics.class_accuracy(found), [0.75, 1.0, np.nan])
  nothing = np.zeros((2, 2), int)
  assert np.isnan([metrics.mean_iou(nothing), metrics.overall_accuracy(nothing)]).all()


@pytest.mark.parametrize(
  ("predicted", "labels", "ignore", "message"),
  [
    ([0, 1], [0, 1], 1, "ignore is 1: it is one of the 2 classes; give a label that is none"),
    ([0, 1], [0, 255], None, "labels have 255, and there are 2 classes, from 0 on"),
    ([0, 1], [0, -1], 255, "labels have -1, and there are 2 classes"),
    ([0, 7], [0, 1], 255, "predicted have 7, and there are 2 classes"),
    ([0, 1, 1], [0, 1], 255, "must be of one shape"),
  ],
)
def test_labels_that_are_no_class_are_refused(predicted, labels, ignore, message):
  with pytest.raises(ValueError, match=message):
    metrics.confusion_matrix(np.array(predicted), np.array(labels), 2, ignore=ignore)


def test_a_negative_label_may_be_the_ignored_one():
  assert metrics.confusion_matrix(np.array([0, 9]), np.array([0, -1]), 2, ignore=-1).tolist() == [
    [1, 0],
    [0, 0],
  ]
