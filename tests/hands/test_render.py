"""Renderings know their joints, depth, mask and camera exactly; a row does not depend on the others."""

import jax
import numpy as np
import pytest

from vita_jax import hands
from vita_jax.data import hands as rows
from vita_jax.data.photographs import Photographs
from vita_jax.hands import dataset, render

RIG = "makehuman_left"  # ships
SIZE = 48


@pytest.fixture(scope="module")
def photographs():
  """Flat pictures, of which each pixel tells which it is."""
  pictures = tuple(np.full((60, 80, 3), 3 * i, np.uint8) for i in range(12))
  return Photographs(tuple(f"{i}.png" for i in range(12)), pictures, "generated")


@pytest.fixture(scope="module")
def found(photographs):
  options = {"backgrounds": photographs.pictures, "identities": (0, 7, 9), "antialias": 1}
  return hands.render_hands(0, hands.load_rig(RIG), number=12, size=SIZE, **options)


def test_a_rendering_has_every_part(found):
  assert found.image.shape == (12, SIZE, SIZE, 3) and found.image.dtype == np.uint8
  assert found.mask.shape == found.depth.shape == (12, SIZE, SIZE) and found.mask.dtype == bool
  assert found.uv.shape == (12, 21, 2) and found.xyz.shape == (12, 21, 3) and found.angles.shape == (12, 5, 4)
  assert set(found.identity) <= {0, 7, 9} and not found.right.any()
  np.testing.assert_array_equal(found.row, np.arange(12))
  np.testing.assert_array_equal(found.z, found.xyz[..., 2])
  shares = found.mask.mean(axis=(1, 2))
  assert (shares > 0.15).all() and (shares < 0.8).all()


def test_uv_are_the_projections_of_xyz_and_lie_in_the_picture(found):
  seen = np.einsum("nij,nkj->nki", found.intrinsics, found.xyz)
  np.testing.assert_allclose(seen[..., :2] / seen[..., 2:], found.uv, atol=1e-3)
  assert found.uv.min() > 0 and found.uv.max() < SIZE - 1
  assert (found.z > 300).all() and (found.z < 800).all()
  for i in range(12):
    rows.check_row(dataset.RenderingRows(found)[i], name=f"row {i}")


def test_joints_lie_within_the_mask_behind_the_depth_that_is_seen(found):
  """A joint is inside of the hand: where it is seen, the surface before it is nearer, by a finger's half."""
  place = np.clip(np.round(found.uv).astype(int), 0, SIZE - 1)
  i = np.arange(12)[:, None]
  inside, surface = found.mask[i, place[..., 1], place[..., 0]], found.depth[i, place[..., 1], place[..., 0]]
  assert inside.mean() > 0.93
  deeper = np.setdiff1d(np.arange(21), [4, 8, 12, 16, 20])  # tips lie on the skin
  behind = (found.z - surface)[:, deeper][inside[:, deeper]]
  assert (behind > -2).all() and np.median(behind) < 25
  assert (found.depth[~found.mask] == hands.FAR).all() and (found.depth[found.mask] < hands.FAR).all()


def test_depth_is_that_of_the_projected_vertices(found):
  """Vertices that are nearest at their pixel have its depth; few, at silhouettes, are nearer."""
  rig, i = hands.load_rig(RIG), 3
  lengths = render.identity_of(int(found.identity[i])).lengths
  move = jax.jit(lambda angles, lengths: hands.articulate(rig, angles, lengths=lengths))
  vertices, joints = (np.asarray(x) for x in move(found.angles[i], lengths))
  # The rigid motion to the camera is that of the joints.
  a, b = joints - joints.mean(0), found.xyz[i] / 1000 - found.xyz[i].mean(0) / 1000
  u, _, vt = np.linalg.svd(a.T @ b)
  turn = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
  moved = ((vertices - joints.mean(0)) @ turn) * 1000 + found.xyz[i].mean(0)
  np.testing.assert_allclose(
    (joints - joints.mean(0)) @ turn * 1000 + found.xyz[i].mean(0), found.xyz[i], atol=0.05
  )
  seen = moved @ found.intrinsics[i].T
  place = np.round(seen[:, :2] / seen[:, 2:]).astype(int)
  inside = (place >= 0).all(1) & (place < SIZE).all(1)
  surface = found.depth[i, place[inside, 1], place[inside, 0]]
  shown = surface < hands.FAR
  ahead = (surface - moved[inside, 2])[shown]
  assert shown.mean() > 0.85 and np.quantile(ahead, 0.9) < 4 and (np.abs(ahead) < 2).mean() > 0.3


def test_a_row_does_not_depend_on_what_is_rendered_with_it(found, photographs):
  options = {"backgrounds": photographs.pictures, "identities": (0, 7, 9), "antialias": 1}
  again = hands.render_hands(0, hands.load_rig(RIG), number=12, size=SIZE, first=4, **options)
  for name in hands.Renderings._fields:
    np.testing.assert_array_equal(getattr(found, name)[4:], getattr(again, name)[:8], err_msg=name)
  other = hands.render_hands(1, hands.load_rig(RIG), number=12, size=SIZE, **options)
  assert (
    np.abs(other.angles - found.angles).min(axis=(1, 2)).max() < 1e-6 or (other.image != found.image).any()
  )


def test_pictures_show_what_they_say(found, photographs):
  for i in range(12):
    corner = found.image[i, :3, :3].astype(float)  # the box leaves a rim around the joints
    if found.background[i] >= 0:
      assert abs(corner.mean() - 3 * found.background[i]) < 6
  darkest = [found.image[i][found.mask[i]].mean() for i in range(12) if found.identity[i] == 7]
  lightest = [found.image[i][found.mask[i]].mean() for i in range(12) if found.identity[i] == 0]
  assert max(darkest) < min(lightest)


def test_another_background_is_what_a_rendering_before_it_shows():
  """Pictures of the same rows before other photographs: the hands, their noise and all else are the same."""
  rig, options = hands.load_rig(RIG), {"number": 6, "size": SIZE}
  walls = [(np.full((60, 80, 3), grey, np.uint8),) for grey in (70, 180)]  # no noise is cut
  first, second = (hands.render_hands(3, rig, backgrounds=wall, **options) for wall in walls)
  moved = hands.replace_background(first.image, first.alpha, first.behind, second.behind)
  assert np.abs(np.asarray(moved, int) - second.image).max() <= 2
  photographed = first.background >= 0
  assert photographed.any() and np.abs(first.image.astype(int) - second.image)[photographed].max() > 100


def test_rows_of_an_identity_have_no_background_in_common(photographs):
  """A generator would learn to paint it, whatever its source shows."""
  rng = np.random.default_rng(0)
  pictures = tuple(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(3))
  found = hands.render_hands(0, hands.load_rig(RIG), number=30, size=16, backgrounds=pictures, antialias=1)
  assert len({behind.tobytes() for behind in found.behind}) == 30


def test_the_palm_is_seen_at_azimuth_0_and_the_back_at_180(found):
  """Of a left palm, fingers up, the thumb is on the left: the knuckles run to the right."""
  across = found.xyz[:, 17, 0] - found.xyz[:, 5, 0]
  palm = np.abs(found.view[:, 0]) < 90
  assert palm.any() and (~palm).any()
  assert (across[palm] > 0).all() and (across[~palm] < 0).all()


def test_identities_are_tones_lengths_and_blots():
  a, b, c = (render.identity_of(i) for i in (0, 8, 1))
  np.testing.assert_allclose(a.texture.mean((0, 1)), b.texture.mean((0, 1)), atol=0.08)
  assert np.abs(a.lengths - b.lengths).max() > 0.01 and np.array_equal(a.lengths, c.lengths)
  assert a.texture.std() > 0.02 and (np.abs(np.diff(a.texture, axis=0)) < 0.05).all()


def test_few_identities_differ_in_tone_and_lengths_and_many_are_no_two_alike():
  """Eight with one set of lengths would be one hand in eight colours."""
  few = dataset.people(8)
  assert sorted(number % 8 for number in few) == list(range(8))
  assert len({render.identity_of(number).lengths.tobytes() for number in few}) == 4
  many = dataset.people(70)
  assert len(set(many)) == 70 and sorted(many[:32]) == list(range(32)) and many[:8] == few


def test_no_pose_identity_or_photograph_of_a_test_is_in_training(photographs):
  sets = dataset.rendered_hands(
    size=SIZE,
    train=12,
    test=12,
    strangers=12,
    photographs=photographs,
    held_out=4,
    antialias=1,
    rig=hands.load_rig(RIG),
  )
  for test in (sets.test, sets.strangers):
    apart = np.abs(test.angles[:, None] - sets.train.angles[None]).max(axis=(2, 3))
    assert apart.min() > np.deg2rad(3)
    assert np.asarray(hands.pose_distance(test.xyz[:, None], sets.train.xyz[None])).min() > 0.01
    assert not set(test.row) & set(sets.train.row)
  known, strangers = dataset.people(10)[:8], dataset.people(10)[8:]
  assert set(sets.strangers.identity) == set(strangers)
  assert set(sets.train.identity) <= set(known) and set(sets.test.identity) <= set(known)
  # Backgrounds are told by their grey: 3 i.
  corner = {
    name: np.round(x.image[x.background >= 0, :2, :2].mean(axis=(1, 2, 3)) / 3)
    for name, x in sets._asdict().items()
  }
  assert len(set(sets.train.background)) > 2
  known = set(corner["train"]) - {0.0}
  assert not known & set(corner["test"]) and not known & set(corner["strangers"])
  np.testing.assert_array_equal(sets.test.row, dataset.FIRST_TEST + np.arange(12))  # however many train


def test_what_cannot_be_rendered_is_refused():
  rig = hands.load_rig(RIG)
  for options, message in (
    ({"number": 0, "size": 64}, "give at least one"),
    ({"number": 1, "size": 64, "identities": ()}, "there are no identities"),
    ({"number": 1, "size": 64, "antialias": 2}, "give 1, 3, 5 or 7"),
    ({"number": 2, "size": 64, "angles": np.zeros((1, 5, 4))}, r"angles are \[2, 5, 4\]"),
    ({"number": 1, "size": 64, "crop": "boxed"}, "did you mean 'box'"),
  ):
    with pytest.raises(ValueError, match=message):
      hands.render_hands(0, rig, **options)
