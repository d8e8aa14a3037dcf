"""Tables for positive-unlabelled learning: inputs that would give the label away are refused."""

import json

import numpy as np
import pytest

from vita_jax.data.pu_table import load_pu_table


def _files(folder, copy):
  rng = np.random.default_rng(0)
  known = rng.integers(0, 2, 40)
  rows = [f"{rng.normal():.3f},{'yes' if (k if copy else rng.integers(0, 2)) else 'no'},{k}" for k in known]
  (folder / "rows.csv").write_text("\n".join(["x,told,known", *rows]) + "\n")
  schema = {"numeric": ["x"], "categorical": ["told"], "labelled": "known == 1"}
  (folder / "schema.json").write_text(json.dumps(schema))
  return str(folder / "rows.csv"), str(folder / "schema.json")


def test_a_copy_of_the_label_under_another_name_is_refused(tmp_path):
  """It used to be accepted, and the estimated prior was half of the true one."""
  with pytest.raises(ValueError, match="feature 1 of 2, .* is a copy of the label"):
    load_pu_table(*_files(tmp_path, copy=True))
  assert load_pu_table(*_files(tmp_path, copy=False)).x.shape == (40, 2)
