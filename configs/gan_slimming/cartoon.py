"""Photographs to cartoons (cv2.stylization), with exact pairs: a small generator that is slimmed.

  python launch/train.py --config=configs/gan_slimming/cartoon.py:teacher --workdir=runs/cartoon/teacher
  python launch/train.py --config=configs/gan_slimming/cartoon.py:gs32 --workdir=runs/cartoon/gs32 \\
    --config.teacher.path=runs/cartoon/teacher --config.budget.macs=0.35

The argument is the method:
  teacher     the dense generator, trained on the pairs
  gs32, gs8   GAN Slimming: distils and prunes at once; gs8 with 8-bit weights and activations as well
  gd          a narrow generator, drawn anew, distilled
  d, cp, q    distillation, channel pruning, quantisation alone
  d_cp, d_q, cp_q   two of them
  stack       pruned without distillation, fine-tuned with it, then quantised without training (8, 6, 4 bits)
  magnitude, random, cec   channels of the teacher by filters, chance or evolution, then fine-tuned; they
              need --config.budget.macs or --config.budget.bytes
Without teacher.path a run trains its own teacher first. The 212 photographs are read from
VITA_DATA_DIR/vision/photos_pd and split by photograph; the cartoons are made once (`pip install
'vita_jax[cartoon]'`) and kept in VITA_CACHE_DIR.
Hardware: two CPU cores. Time: a step takes 0.12 s for the teacher and 0.14 s for a student (GS-32), 6 and
2 minutes in all, estimated from single steps; compiling takes 5 s for each stage. Peak memory: 2 GB,
estimated.
Expect of the teacher at least 2 dB over the identity map and 1 dB over histogram matching (`psnr` beside
`identity_psnr` and `histogram_psnr`): a plain L1 pilot of 300 steps was 3.9 and 3.0 dB above them.
"""

from vita_jax.papers.gan_slimming.recipe import default_config

# Not the paper's: a generator of 0.77 M weights, crops, and rates for hundreds of steps instead of 26,600.
SMALL = {
  "generator.base": 24,
  "generator.blocks": 4,
  "generator.output": "residual",
  "discriminator.width": 16,
  "teacher.rate": 1e-3,
  "slim.steps": 600,
  "slim.rate": 3e-4,
  "slim.rho": 0.1,
  "slim.discriminator_rate": 2e-4,
  "finetune.steps": 400,
  "finetune.batch": 8,
  "finetune.rate": 3e-4,
  # The released code clips activations at 4, which suits its own teacher; in a float teacher here the
  # residual stream reached 39, so clips follow the observed maximum.
  "quant.clip_kind": "ema_percentile",
  "quant.percentile": 100.0,
  "quant.clip": 16.0,
}


def get_config(method: str = "gs32"):
  return default_config(method, SMALL)
