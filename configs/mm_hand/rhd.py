"""RHD, 256 x 256, at full scale: rendered pictures of 20 characters; training/ trains, evaluation/ is tested.

  python launch/train.py --config=configs/mm_hand/rhd.py:mm_hand --workdir=runs/rhd \\
    --config.data.folder=RHD_published_v2

The argument is the method, as in configs/mm_hand/rendered.py. RHD must be fetched from its authors; its
labels are converted once (the message says how). Hands of which a joint is hidden are left out, right ones
mirrored. Depth is told in 5 m. All pictures are held on the device.
Hardware: one GPU. Time: not measured. Peak memory: 14 GB, estimated. Numbers: the paper's tables were not to
be had.
"""

from vita_jax.papers.mm_hand.recipe import default_config


def get_config(method: str = "mm_hand"):
  return default_config(method, {"data.name": "rhd", "data.folder": "RHD_published_v2", "depth.far": 5000.0})
