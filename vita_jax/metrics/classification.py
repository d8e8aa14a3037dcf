"""Scores of predicted classes, on the host: accuracy, Matthews correlation, F1."""

from __future__ import annotations

import numpy as np


def share_equal(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Computes the accuracy of predicted classes: the share of equal entries, both [n]."""
  return float(np.mean(np.asarray(predicted) == np.asarray(labels)))


def matthews(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Computes the Matthews correlation of two classes.

  (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)); 0 where a factor of the root is 0.

  Args:
    predicted: [n], 0/1 or bool.
    labels: [n], 0/1 or bool.

  Examples:
    >>> matthews(np.array([1, 1, 0, 0]), np.array([1, 1, 0, 1]))
    0.5773502691896258
  """
  predicted, labels = np.asarray(predicted, bool), np.asarray(labels, bool)
  tp, tn = float(np.sum(predicted & labels)), float(np.sum(~predicted & ~labels))
  fp, fn = float(np.sum(predicted & ~labels)), float(np.sum(~predicted & labels))
  root = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
  return float((tp * tn - fp * fn) / root) if root else 0.0


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Computes F1 of class 1, 2 TP / (2 TP + FP + FN): [n] 0/1 or bool; 0 where there are none."""
  predicted, labels = np.asarray(predicted, bool), np.asarray(labels, bool)
  both, either = np.sum(predicted & labels), np.sum(predicted) + np.sum(labels)
  return float(2 * both / either) if either else 0.0
