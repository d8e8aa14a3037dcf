"""Fixtures of the data tests: no door is open unless a test opens it."""

import os

import numpy as np
import pytest


@pytest.fixture
def closed_doors(monkeypatch, tmp_path):
  """VITA_DATA_DIR unset, TFDS_DATA_DIR an empty folder."""
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
  return tmp_path


@pytest.fixture
def vita_data_dir():
  """$VITA_DATA_DIR with the Cora and PubMed files, which are not part of the repository."""
  folder = os.environ.get("VITA_DATA_DIR")
  if not folder:
    pytest.skip("VITA_DATA_DIR is not set: it names the folder with planetoid/cora.npz")
  return folder


@pytest.fixture
def toy_arrays():
  """A valid user graph: 5 nodes, edges in both directions, twice, and a self loop."""
  return {
    "edges": np.array([[1, 0], [0, 1], [1, 2], [2, 1], [3, 3], [4, 2], [2, 4], [1, 0]]),
    "features": np.array([[1, 0, 3], [0, 0, 0], [2, 2, 0], [0, 0, 5], [1, 1, 1]], np.float64),
    "labels": np.array([0, 1, -1, 1, 0]),
    "train_mask": np.array([True, False, False, False, False]),
    "val_mask": np.array([3]),
    "test_mask": np.array([1, 4]),
  }
