"""Representations, labels and splits from files that others made."""

import numpy as np
import pytest

from vita_jax.audit import read_labels, read_matrix, read_split

N = 50
Z = np.random.default_rng(0).normal(size=(N, 3))


@pytest.fixture
def files(tmp_path):
  split = np.array(["train", "validation", "test"])[np.arange(N) % 3]
  np.savez(tmp_path / "z.npz", z=Z, s=np.arange(N) % 2, split=split)
  rows = zip(Z[:, 0], Z[:, 1], np.arange(N) % 2, strict=True)
  text = "a,b,s\n" + "".join(f"{a},{b},{s}\n" for a, b, s in rows)
  (tmp_path / "z.csv").write_text(text)
  return tmp_path


def test_a_matrix_leaves_the_labels_of_its_own_file_out(files):
  np.testing.assert_allclose(read_matrix(str(files / "z.npz")), Z, rtol=1e-6)
  found = read_matrix(str(files / "z.csv"), without=["s == 1", "other.csv:a"])
  np.testing.assert_allclose(found, Z[:, :2], rtol=1e-6)


def test_labels_are_written_as_in_a_schema(files):
  path = str(files / "z.csv")
  name, values, classes = read_labels(f"{path}:a > 0", "", n_rows=N)
  np.testing.assert_array_equal(values, Z[:, 0] > 0)
  assert name == "a > 0" and classes == ("0", "1")
  _, values, classes = read_labels("number(b)", path, n_rows=N)
  np.testing.assert_allclose(values, Z[:, 1], rtol=1e-6)
  assert classes == ()
  parts = read_split("split", str(files / "z.npz"), n_rows=N)
  np.testing.assert_array_equal(parts["test"], np.arange(2, N, 3))


def test_faults_have_one_clear_line(files):
  path = str(files / "z.csv")
  with pytest.raises(ValueError, match="no column 'sex'"):
    read_labels("sex", path, n_rows=N)
  with pytest.raises(ValueError, match="50 rows, the representation 49"):
    read_labels("s", path, n_rows=49)
  with pytest.raises(ValueError, match="holds 0, 1: it must hold train"):
    read_split("s", path, n_rows=N)
  with pytest.raises(ValueError, match="all labels"):
    read_matrix(path, without=["a", "b", "s"])
  np.savez(files / "two.npz", a=Z, b=Z)
  with pytest.raises(ValueError, match="name the representation 'z'"):
    read_matrix(str(files / "two.npz"))
