"""Pictures of one's own: two folders of unlike domains, two of exact pairs, or one and a trained teacher.

  python launch/train.py --config=configs/gan_slimming/custom.py:gs8 --workdir=runs/mine \\
    --config.data.source=photos --config.data.target=paintings --config.budget.macs=0.35
  python launch/train.py --config=configs/gan_slimming/custom.py:gs8 --workdir=runs/mine \\
    --config.data.source=photos --config.teacher.path=generator.safetensors --config.budget.bytes=0.05

The argument is the method, as in configs/gan_slimming/cartoon.py. With --config.data.style=pairs the files of
the two folders have equal names. The teacher is a run's folder, its safetensors file, or that of a CycleGAN
generator trained in torch (`vita_jax/nn/gan_files.py` says how to write one); without one it is trained here.
Networks and schedules are the paper's: CycleGAN's generator, pictures of 256 pixels, 26,600 steps.
Hardware: one GPU; two CPU cores do for small generators (--config.generator.base=24). Time: not measured.
Peak memory: not measured; about 3 GB for one picture of 256 x 256 in a step, estimated.
Numbers: `kernel_<network>` of the student beside `teacher_` and `identity_` ones; with pairs `psnr`.
"""

from vita_jax.papers.gan_slimming.recipe import default_config

OWN = {"data.style": "domains", "data.side": 286, "data.crop": 256}


def get_config(method: str = "gs32"):
  return default_config(method, OWN)
