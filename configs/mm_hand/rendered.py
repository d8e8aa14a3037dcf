"""Rendered hands, 64 x 64: exact joints and depth, new poses, identities and photographs in the test.

  python launch/train.py --config=configs/mm_hand/rendered.py:mm_hand --workdir=runs/mm_hand
  python launch/train.py --config=configs/mm_hand/rendered.py:mm_hand --workdir=runs/anti \\
    --config.curriculum.kind=anti

The argument is the method:
  mm_hand       three streams: the picture, heat maps and depth of both poses (paper)
  patn          two: without depth
  no_attention  the same maps, joined, and plain residual blocks
  pix2pix       a U-Net from the target's joints map, without a source
  cyclegan      the same, unpaired, there and back
  pg2           coarse first, then corrected; heat maps
  copy_source   the source as it is: what appearance alone is worth
--config.curriculum.kind is random, easy_to_hard, anti or static; --config.depth.source=learned trains a
network of depth first; --config.loss.net is the perceptual loss's network, lite, hed_vgg16 or off. The rig
and the landmark networks, lite of the loss and full, which judges, are read from VITA_DATA_DIR
(launch/prepare_data.py), the photographs from VITA_DATA_DIR/vision/photos_pd; renderings are kept in
VITA_CACHE_DIR.
Hardware: two CPU cores. Time: 0.35 to 0.5 s for a step (4 pairs) on one of them, so 17 to 25 minutes for the
3,000 steps, and a minute of compiling; 1 to 3 minutes for the report, and 4 more once for its small judge.
pix2pix takes 5 minutes in all. Peak memory: 2.4 GB.
Expect (three seeds, configs/mm_hand/table.py): `pose_error` 16.3 ± 1.6 pixels of 224, where copied sources
have 50.2, a mean pose 22.0 and true pictures 7.3; without depth (patn) 21.5 ± 1.7.
`l1`, `ssim` and `pose_error` stand beside `copy_...` (the source as it is) and `floor_pose_error` (what the
judge says of the true pictures).
"""

from vita_jax.papers.mm_hand.recipe import default_config

# Not the paper's: pictures of 64, narrow networks, thousands of steps instead of a hundred epochs. Without a
# perceptual loss so few draw no fingers: see the pilot in papers/mm_hand/README.md.
SMALL = {
  "data.size": 64,
  "data.bend": 0.5,  # the judge tells half-bent hands apart; of fists it sees half as much
  "generator.width": 12,
  "generator.blocks": 3,
  "generator.scan": False,
  "generator.remat": False,
  "discriminator.width": 12,
  "depth.steps": 400,
  "loss.net": "lite",
  "train.batch": 4,
  "train.rate": 1e-3,
  "train.epochs": 3,  # of 500 steps
  "train.decay": 4,
  "report.small_judge": 4000,
  "steps_per_call": 1,  # each step is a program: the library's convolutions are fast there
}


def get_config(method: str = "mm_hand"):
  return default_config(method, SMALL)
