"""Hands of one's own: an npz file of pictures with joints, networks and schedule of the small config.

  python launch/train.py --config=configs/mm_hand/custom.py:mm_hand --workdir=runs/mine \\
    --config.data.folder=hands.npz --config.data.size=64

The argument is the method, as in configs/mm_hand/rendered.py. The file has `image` uint8 [n, S, S, 3], crops
around hands that are all left or all right, `uv` [n, 21, 2] in pixels (x, y), `xyz` [n, 21, 3] in mm before
the camera, `test` bool [n], and where there are any `identity` int [n] and `depth` [n, S, S] in mm. Joints
are in the order wrist, thumb, index, middle, ring, little, each from the palm outwards. The perceptual loss
is of the landmark network in VITA_DATA_DIR (launch/prepare_data.py); --config.loss.net=off does without,
worse.
Hardware: two CPU cores for 64 pixels, a GPU for 256. Time: not measured. Peak memory: 2 GB at 64
pixels, estimated. Numbers: `pose_error` beside `copy_pose_error` and `floor_pose_error`.
"""

from vita_jax.papers.mm_hand.recipe import default_config

SMALL = {
  "data.name": "custom",
  "data.folder": "hands.npz",
  "data.size": 64,
  "generator.width": 12,
  "generator.blocks": 3,
  "generator.scan": False,
  "generator.remat": False,
  "discriminator.width": 12,
  "depth.steps": 400,
  "loss.net": "lite",
  "train.batch": 4,
  "train.rate": 1e-3,
  "train.steps": 3000,
  "steps_per_call": 1,
}


def get_config(method: str = "mm_hand"):
  return default_config(method, SMALL)
