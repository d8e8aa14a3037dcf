"""Measures how well the full hand landmark network judges rendered hands: its floor at each resolution.

  python launch/mm_hand/floor.py
  python launch/mm_hand/floor.py --sizes=64,96 --number=200 --rig=right

Each picture is resized to the 224 pixels that the network takes. "floor" is its error on the picture's own
joints, "copy-source" that against the joints of another picture of the set, drawn at random: what a generator
that gives its source back would get. Both are means over 21 joints, in pixels of 224; "fingers" is the floor
without the wrist, which the network sees about 14 pixels nearer to the fingers than the rig has it. Where the
floor is more than a third of copy-source's error, the network cannot tell good generators apart.
"""

from __future__ import annotations

from absl import flags

from vita_jax import cli

SIZES = flags.DEFINE_list("sizes", ["224", "64", "96"], "Sides of the pictures, in pixels.")
NUMBER = flags.DEFINE_integer("number", 100, "How many pictures of each.", lower_bound=2)
RIG = flags.DEFINE_string("rig", "left", "Which hand: left or right.")
CROP = flags.DEFINE_enum("crop", "box", ["box", "square"], "Whether the box of the joints is stretched.")
BEND = flags.DEFINE_float("bend", 1.0, "Share of the limits to which fingers bend.", 0.0, 1.0)
SEED = flags.DEFINE_integer("seed", 0, "Of what is drawn.", lower_bound=0)
WHICH = flags.DEFINE_enum("judge", "full", ["full", "lite"], "Which landmark network.")


def main() -> None:
  import jax
  import numpy as np

  from vita_jax.data import load_photographs
  from vita_jax.hands import load_rig, render_hands
  from vita_jax.nn.hand_landmarks import SIZE, judge, load_hand_landmarks

  rig, photographs = load_rig(RIG.value), load_photographs(side=128)
  module, variables = load_hand_landmarks(WHICH.value, form="top")
  look = jax.jit(lambda pictures: judge(module, variables, pictures))
  print("size  floor  median  fingers  copy-source  share  presence")
  for size in (int(text) for text in SIZES.value):
    found = render_hands(
      SEED.value,
      rig,
      number=NUMBER.value,
      size=size,
      backgrounds=photographs.pictures,
      crop=CROP.value,
      bend=BEND.value,
      antialias=3 if size < 128 else 1,
    )
    parts = []
    for start in range(0, NUMBER.value, 20):
      pictures = found.image[start : start + 20].astype(np.float32) / 255
      parts.append(jax.device_get(look(pictures)))
    joints = np.concatenate([part.joints[..., :2] for part in parts])
    presence = np.concatenate([part.presence for part in parts])
    order, partner = np.random.default_rng(SEED.value).permutation(NUMBER.value), np.empty(NUMBER.value, int)
    partner[order] = np.roll(order, 1)  # nobody's own
    floor, copied = (
      np.linalg.norm(joints - uv, axis=-1) * SIZE / size for uv in (found.uv, found.uv[partner])
    )
    row = f"{size:4d}  {floor.mean():5.2f}  {np.median(floor.mean(1)):6.2f}  {floor[:, 1:].mean():7.2f}"
    row += f"  {copied.mean():11.2f}  {floor.mean() / copied.mean():5.3f}  {presence.mean():8.3f}"
    print(row, flush=True)


if __name__ == "__main__":
  cli.run(main)
