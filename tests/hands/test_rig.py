"""A rigged hand: at rest as in the file, fists close towards the palm, bones keep or change their lengths."""

import functools

import jax
import numpy as np
import pytest

from vita_jax import hands
from vita_jax.base import write_npz
from vita_jax.data.sources import data_file, source_files
from vita_jax.hands import rig as rigs
from vita_jax.pose.skeletons import HAND

SIZES = {
  "left": (1159, 2314),
  "right": (1159, 2314),
  "makehuman_left": (1690, 3376),
  "makehuman_right": (1690, 3376),
}


@pytest.fixture(scope="module", params=rigs.NAMES)
def rig(request):
  return _loaded(request.param)


def _loaded(name):
  if source_files(f"hand/{name}") is None:
    pytest.skip("the rigged hands of WebXR are not under $VITA_DATA_DIR")
  return hands.load_rig(name)


@functools.cache
def _program(name):
  rig = hands.load_rig(name)
  return jax.jit(lambda angles, lengths: hands.articulate(rig, angles, lengths=lengths))


def _moved(rig, angles, lengths=(1.0,) * 5):
  return tuple(np.asarray(x) for x in _program(rig.name)(np.asarray(angles), np.asarray(lengths)))


def test_the_hand_is_21_joints_on_20_edges_from_the_wrist_outwards():
  assert HAND.n_keypoints == 21 and len(HAND.limbs) == 20 and HAND.flip_pairs == ()
  assert HAND.limbs[:6] == ((0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6))
  assert HAND.limbs[16:] == ((0, 17), (17, 18), (18, 19), (19, 20))
  assert (HAND.names[0], HAND.names[4], HAND.names[8], HAND.names[17]) == (
    *("wrist", "thumb_tip", "index_tip", "little_mcp"),
  )


def test_at_rest_the_mesh_and_the_joints_are_those_of_the_file(rig):
  vertices, joints = _moved(rig, np.zeros((5, 4)))
  np.testing.assert_allclose(vertices, rig.mesh.vertices, atol=1e-6)
  (path,) = source_files(f"hand/{rig.name}").values()
  with np.load(path, allow_pickle=False) as file:
    np.testing.assert_allclose(joints, file["joint_world_rest"][file["std21"], :3, 3], atol=1e-6)
    corners = file["vertices"][file["faces"]]
  np.testing.assert_array_equal(rig.mesh.vertices[rig.mesh.faces], corners)  # joined, and nothing moved


def test_the_mesh_is_closed_and_has_no_seams(rig):
  faces = rig.mesh.faces
  edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
  assert (len(rig.mesh.vertices), len(faces)) == SIZES[rig.name]
  assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}


def test_a_fist_brings_the_fingertips_to_the_palm(rig):
  flat, bent = np.zeros((5, 4)), np.zeros((5, 4))
  bent[1:, :3] = np.deg2rad([70, 80, 50])
  open_hand, fist = (_moved(rig, a)[1] for a in (flat, bent))
  palm = np.mean(open_hand[[0, 5, 9, 13, 17]], axis=0)
  tips = [8, 12, 16, 20]
  assert (
    np.linalg.norm(fist[tips] - palm, axis=1) < 0.65 * np.linalg.norm(open_hand[tips] - palm, axis=1)
  ).all()
  # Of a left palm, fingers up, the index is left and the little finger right: their product points behind.
  across = np.cross(open_hand[5] - open_hand[0], open_hand[17] - open_hand[0])
  little = np.zeros((5, 4))
  little[1:, 0] = 0.3
  moved = _moved(rig, little)[1][tips] - open_hand[tips]
  assert (moved @ (across if rig.right else -across) > 0).all()


@pytest.mark.parametrize("name", ["", "makehuman_"])
def test_the_two_hands_are_mirror_images_and_are_told_apart(name):
  left, right = (_loaded(f"{name}{side}") for side in ("left", "right"))
  assert not left.right and right.right
  angles = hands.random_angles(np.random.default_rng(0))
  a, b = (_moved(rig, angles)[1] for rig in (left, right))
  lengths = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (a, b)]
  np.testing.assert_allclose(*lengths, atol=0.008)  # the two files differ by some mm


def test_lengths_stretch_the_bones_of_their_finger_alone(rig):
  angles = hands.random_angles(np.random.default_rng(1))
  edges = np.array(HAND.limbs)
  plain, longer = (_moved(rig, angles, lengths)[1] for lengths in ([1.0] * 5, [1, 1.1, 1, 1, 0.9]))
  a, b = (np.linalg.norm(np.diff(x[edges], axis=1)[:, 0], axis=-1) for x in (plain, longer))
  factor = np.ones(20)
  factor[5:8], factor[17:20] = 1.1, 0.9
  np.testing.assert_allclose(b / a, factor, atol=1e-4)


def test_the_tip_of_a_stretched_finger_moves_with_its_skin(rig):
  lengths = np.array([1, 1.1, 1, 1, 1])
  (plain, a), (longer, b) = (_moved(rig, np.zeros((5, 4)), x) for x in (np.ones(5), lengths))
  end = int(np.argmin(np.linalg.norm(plain - a[8], axis=1)))
  np.testing.assert_allclose(longer[end] - plain[end], b[8] - a[8], atol=2e-3)


def test_random_angles_keep_the_limits_and_bend_the_last_joint_with_the_middle_one():
  angles = np.stack([hands.random_angles(np.random.default_rng(i)) for i in range(200)])
  degrees = np.rad2deg(angles)
  low, high = rigs.LIMITS[..., 0], rigs.LIMITS[..., 1].copy()
  high[1:, 2] = 0.66 * 90
  assert (degrees >= low - 1e-4).all() and (degrees <= high + 1e-4).all()
  np.testing.assert_allclose(angles[:, 1:, 2], 0.66 * angles[:, 1:, 1], rtol=1e-5)


def test_what_is_no_rig_is_refused_by_name(tmp_path):
  with np.load(data_file("hands/makehuman_left.npz"), allow_pickle=False) as file:
    arrays = dict(file)
  write_npz(tmp_path / "a.npz", {key: x for key, x in arrays.items() if key != "std21"})
  with pytest.raises(ValueError, match="a.npz is no rigged hand: it has no array 'std21'"):
    hands.read_rig(tmp_path / "a.npz")
  turned = arrays["joint_world_rest"].copy()
  turned[:, :3, [1, 2]] = turned[:, :3, [2, 1]]
  write_npz(tmp_path / "b.npz", {**arrays, "joint_world_rest": turned})
  with pytest.raises(ValueError, match="the bone to thumb_mcp runs along .* turn the joint's frame"):
    hands.read_rig(tmp_path / "b.npz")
  with pytest.raises(ValueError, match="did you mean 'left'"):
    hands.load_rig("lefty")
  with pytest.raises(ValueError, match=r"angles are \[5, 4\], these are \[20\]"):
    hands.articulate(hands.load_rig("makehuman_left"), np.zeros(20))
