"""Sets of hands as columns: RHD's layout there and back, with identities and strangers where rendered."""

import numpy as np
import pytest
from PIL import Image

from vita_jax.data.hands_files import write_rhd
from vita_jax.hands import sets
from vita_jax.hands.sets import read_custom, read_rendered, read_rhd

SIZE = 24


def hand(i, size=SIZE):
  """A row of a flat hand at 500 mm, its uv the projections of its joints."""
  rng = np.random.default_rng(i)
  angles = np.linspace(-0.8, 0.8, 5)[:, None] + rng.normal(0, 0.03, (5, 1))
  reach = np.arange(1, 5) * np.array([1.2, 1, 1, 1, 0.7])[:, None] * 17 + 20
  xyz = np.zeros((21, 3), np.float32)
  xyz[1:, 0], xyz[1:, 1] = (reach * np.sin(angles)).ravel(), (-reach * np.cos(angles)).ravel()
  xyz[:, 2] = 500
  scale = size / 160
  k = np.array([[500 * scale, 0, size / 2], [0, 500 * scale, 0.85 * size], [0, 0, 1]], np.float32)
  uv = (xyz @ k.T)[:, :2] / 500
  return {
    "image": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
    "depth": np.full((size, size), 500, np.float32),
    "mask": np.ones((size, size), bool),
    "uv": uv.astype(np.float32),
    "xyz": xyz,
    "intrinsics": k,
    "right": np.asarray(False),
  }


def test_rendered_hands_come_back_from_their_folder(tmp_path):
  rows = [hand(i) for i in range(6)]
  for folder, part, own in (
    (tmp_path, "training", rows[:3]),
    (tmp_path, "evaluation", rows[3:5]),
    (tmp_path / "strangers", "evaluation", rows[5:]),
  ):
    write_rhd(folder, own, part=part, more={"identity": np.arange(len(own)) + 7})
  found = read_rhd(str(tmp_path), SIZE, crop=False)
  assert list(found.tests) == ["test", "identities"] and found.train["identity"].tolist() == [7, 8, 9]
  for i, row in enumerate(rows[:3]):
    np.testing.assert_array_equal(found.train["image"][i], row["image"])
    np.testing.assert_allclose(found.train["uv"][i], row["uv"], atol=1e-3)
    np.testing.assert_allclose(found.train["depth"][i], row["depth"], atol=0.05)
  cut = read_rhd(str(tmp_path), 16, crop=True)
  assert list(cut.tests) == ["test"] and cut.train["image"].shape == (3, 16, 16, 3)
  assert (cut.train["uv"] > 0).all() and (cut.train["uv"] < 15).all()


def test_hands_of_ones_own_are_one_persons_unless_they_say_so(tmp_path):
  rows = [hand(i) for i in range(4)]
  arrays = {name: np.stack([row[name] for row in rows]) for name in ("image", "uv", "xyz")}
  np.savez(tmp_path / "own.npz", **arrays, test=np.arange(4) > 1)
  found = read_custom(str(tmp_path / "own.npz"), SIZE)
  assert found.train["identity"].tolist() == [0, 0] and "depth" not in found.train
  np.testing.assert_array_equal(found.tests["test"]["image"], arrays["image"][2:])
  np.savez(tmp_path / "swapped.npz", **{**arrays, "uv": arrays["uv"][..., ::-1]}, test=np.arange(4) > 1)
  with pytest.raises(ValueError, match=r"swapped.npz: u does not follow x / z, .* \(x, y\), not \(row"):
    read_custom(str(tmp_path / "swapped.npz"), SIZE)
  np.savez(tmp_path / "mixed.npz", **arrays, test=np.arange(4) > 1, right=np.arange(4) > 0)
  with pytest.raises(ValueError, match="3 right and 1 left hands: mirror the right ones"):
    read_custom(str(tmp_path / "mixed.npz"), SIZE)
  with pytest.raises(ValueError, match=r"'image' is \[4, 24, 24, 3\], not \[4, 32, 32, 3\]"):
    read_custom(str(tmp_path / "own.npz"), 32)


def test_kept_renderings_are_of_these_photographs_and_no_others(tmp_path, monkeypatch):
  """Two folders of as many photographs: the second must not get what was rendered for the first."""
  made = []

  def render(rig, *, photographs, **options):
    made.append(photographs.pictures[0][0, 0, 0])
    parts = [f"{part}/{name}" for part in ("train", "test", "strangers") for name in sets.RENDERED]
    return {name: np.full(2, made[-1]) for name in parts}

  monkeypatch.setattr(sets, "_rendered", render)
  monkeypatch.setenv("VITA_CACHE_DIR", str(tmp_path / "cache"))
  folder, found = tmp_path / "photographs", []
  folder.mkdir()
  for grey in (10, 10, 200):
    Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(folder / "a.png")
    found.append(int(read_rendered(photographs=str(folder), size=8).train["image"][0]))
  assert found == [10, 10, 200] and len(made) == 2
