"""Adversarial logos on bodies in photographs, against person detectors.

  python launch/train.py --config=configs/adv_logo/person.py:logo --workdir=runs/logo
  python launch/train.py --config=configs/adv_logo/person.py:logo --workdir=runs/mine \\
    --config.bodies.path=my_bodies --config.bodies.train= --config.bodies.test= \\
    --config.backgrounds.path=my_photographs --config.shape=my_letter.png

The argument is the method:
  logo                the full recipe: a texture of the surface, trained over bodies, angles and photographs
  patch2d             a flat patch of the logo's area at a fixed place of the picture
  patch2d_as_texture  such a patch, trained at 0 degrees, then worn as a texture
  conventional        one texture per body, whose faces take texels in the order in which they are stored
  hard                flat colours per face and one sample per pixel, as the released code's renderer
  single_angle        trained at 0 degrees alone
  noise, grey         controls that are not trained
Other settings: shape (full, G, H, T, X, O, C, tw, drop, or a PNG file), place.side=back,
place.chart=cylindrical, train.range, detectors.train and detectors.test; --explain lists all.
Bodies and photographs are read from VITA_DATA_DIR (human/humans.npz, vision/photos_pd); NanoDet ships.
Hardware: two CPU cores. Time: a step of two pictures takes 0.3 s of CPU time, 300 steps and the test of
660 pictures by NanoDet about three minutes. Peak memory: 2 GB.
Expect 92 % success of `logo` within 10 degrees (three seeds, deviation 2.9) and 0.5 % of `grey`.
"""

from vita_jax.papers.adv_logo.recipe import default_config


def get_config(method: str = "logo"):
  return default_config(method)
