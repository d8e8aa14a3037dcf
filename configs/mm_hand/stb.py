"""STB, 256 x 256, at full scale: real pictures of one left hand, split by video.

  python launch/train.py --config=configs/mm_hand/stb.py:mm_hand --workdir=runs/stb --config.data.folder=STB

The argument is the method, as in configs/mm_hand/rendered.py. STB must be fetched from its authors; the
folder has images/ and labels/. Videos B4 are tested, as in the paper's code; the literature tests B1:
--config.data.test_videos="('B1Counting','B1Random')". Joint 0 is the middle of the palm. All pictures are
held on the device: 3 GB for 15,000.
Hardware: one GPU. Time: not measured; 0.6 TFLOP for one picture forward, estimated. Peak memory: 8 GB,
estimated. Numbers: the paper's tables were not to be had.
"""

from vita_jax.papers.mm_hand.recipe import default_config


def get_config(method: str = "mm_hand"):
  return default_config(method, {"data.name": "stb", "data.folder": "STB"})
