"""Published pose networks as references on pedestrians, whose labels another network gave."""

import numpy as np
import pytest

from vita_jax.data import load_poses
from vita_jax.data.pedestrians import available
from vita_jax.metrics.keypoints import near
from vita_jax.nn.detectors.poses import find_poses


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="no vision/vtest_people.* under $VITA_DATA_DIR")
@pytest.mark.parametrize(("name", "share"), [("movenet_lightning", 0.892), ("movenet_thunder", 0.916)])
def test_movenet_finds_the_pedestrians(published, name, share):
  published(f"detectors/{name}")
  test = load_poses("pedestrians", size=(128, 128)).test
  found = find_poses(name, test["image"])
  assert found.scores.shape == (119, 17)
  assert near(found.joints, test["joints"], test["length"]).mean() == pytest.approx(share, abs=0.01)
  few = find_poses(name, test["image"][:3])
  np.testing.assert_allclose(few.joints, found.joints[:3], atol=1e-2)


def test_other_names_and_shapes_are_refused():
  with pytest.raises(ValueError, match="unknown network 'movenet': did you mean 'movenet_"):
    find_poses("movenet", np.zeros((1, 8, 8, 3), np.uint8))
  with pytest.raises(
    ValueError, match=r"pictures are uint8 \[n, height, width, 3\]; these are float32 \[1, 8, 8\]"
  ):
    find_poses("movenet_thunder", np.zeros((1, 8, 8), np.float32))
