"""The metrics of the paper's tasks, on the host, from what a model says of each development row."""

from __future__ import annotations

import numpy as np


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Share of equal entries."""
  return float(np.mean(predicted == labels))


def matthews(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Matthews correlation of two classes, (TP TN - FP FN) / sqrt(...); 0 where a factor of the root is 0."""
  predicted, labels = np.asarray(predicted, bool), np.asarray(labels, bool)
  tp, tn = float(np.sum(predicted & labels)), float(np.sum(~predicted & ~labels))
  fp, fn = float(np.sum(predicted & ~labels)), float(np.sum(~predicted & labels))
  root = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
  return float((tp * tn - fp * fn) / root) if root else 0.0


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
  """F1 of class 1: 2 TP / (2 TP + FP + FN); 0 where there are none."""
  predicted, labels = np.asarray(predicted, bool), np.asarray(labels, bool)
  both, either = np.sum(predicted & labels), np.sum(predicted) + np.sum(labels)
  return float(2 * both / either) if either else 0.0


def pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Pearson correlation of raw predictions; 0 where either is constant."""
  x, y = (np.asarray(v, np.float64) - np.mean(v, dtype=np.float64) for v in (predicted, labels))
  root = np.sqrt(np.sum(x * x) * np.sum(y * y))
  return float(np.sum(x * y) / root) if root > 0 else 0.0


def spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
  """Pearson correlation of ranks; ties share their mean rank."""
  from scipy.stats import rankdata

  return pearson(rankdata(predicted), rankdata(labels))


METRICS = {  # task -> name of each metric -> function of (predicted, labels); the first is the paper's
  "cola": {"matthews": matthews, "accuracy": accuracy},
  "mrpc": {"accuracy": accuracy, "f1": f1},
  "qqp": {"accuracy": accuracy, "f1": f1},
  "stsb": {"pearson": pearson, "spearman": spearman},
  "regression": {"pearson": pearson, "spearman": spearman},
}


def metrics_of(task: str, *, regression: bool) -> dict:
  """The metrics of a task by name; accuracy, or correlations, for one that the table does not have."""
  return METRICS.get(task, METRICS["regression"] if regression else {"accuracy": accuracy})
