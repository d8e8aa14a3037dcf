"""A peer of the table's rows: torch-pruning (Fang et al., CVPR 2023) picks the channels.

  python launch/gan_slimming/prune_by_torch.py --teacher=runs/gan_slimming/teacher \\
    --workdir=runs/gan_slimming/torch_pruning

Needs `pip install torch torch-pruning`. The teacher is written as a torch module, torch-pruning removes the
smallest groups of filters by their norm (`importance.MagnitudeImportance`, global) until the share of
multiply-adds is met, and what is left is read back and fine-tuned by the steps of the row "35 % magnitude".
Unlike our groups, its own include the residual stream. Ranking by the scales of norms
(`importance.BNScaleImportance`) knows batch norm alone: of this network it removes nothing, without a word,
which is printed. Prints the quality of each seed after fine-tuning, mean ± population std. The folders of the
runs hold networks of other shapes than their config.json says, so that `launch/export.py` refuses them.
Hardware and time: two CPU cores; 4 minutes a seed, estimated from single steps.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.cli.files import find_config, load_config

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs, one for each seed.", required=True)
TEACHER = flags.DEFINE_string("teacher", None, "Run of cartoon.py:teacher, or its weights.", required=True)
MACS = flags.DEFINE_float("macs", 0.35, "Share of the teacher's multiply-adds.", lower_bound=0, upper_bound=1)
SEEDS = flags.DEFINE_integer("seeds", 3, "Seeds 0, 1, ...", lower_bound=1)
CONFIG, METHOD = "configs/gan_slimming/cartoon.py", "magnitude"


def main() -> None:
  from vita_jax.papers.gan_slimming import nets_of, recipe_of
  from vita_jax.train import run

  config = load_config(find_config(CONFIG), METHOD)
  if not MACS.value:
    raise ValueError("--macs is 0: give a share of the teacher's multiply-adds, e.g. 0.35")
  config.teacher.path = TEACHER.value
  config.budget.macs = MACS.value
  recipe = recipe_of(config)
  nets = nets_of(recipe)
  by_scale, _ = pruned(nets.teacher, nets.loaded["generator"], 0.5, by="scale")
  print(f"half of all channels, by scales of norms: {share(by_scale, nets.teacher):.1%} of the multiply-adds")
  small, params = within(nets.teacher, nets.loaded["generator"], MACS.value)
  print(f"by the norms of filters: {share(small, nets.teacher):.1%} of the multiply-adds; {small.widths}")
  found = []
  for seed in range(SEEDS.value):
    config.seed = seed
    summary = run(experiment(recipe, nets, small, params), config, Path(WORKDIR.value) / f"seed_{seed}")
    found.append({name: entry["mean"] for name, entry in summary["metrics"].items()})
  for name in ("psnr", "ssim", "mse_target", "mse_teacher"):
    values = [row[name] for row in found]
    print(
      f"{name}: {np.mean(values):.5g} ± {np.std(values):.2g}, seeds {', '.join(f'{v:.5g}' for v in values)}"
    )


def share(generator: Any, teacher: Any) -> float:
  """Returns a generator's share of the teacher's multiply-adds."""
  from vita_jax.papers.gan_slimming.model import macs

  return macs(generator) / macs(teacher)


def within(teacher: Any, params: Any, wanted: float) -> tuple[Any, Any]:
  """Returns the largest network that torch-pruning makes within a share of the multiply-adds."""
  low, high = 0.0, 1.0
  found = None
  for _ in range(9):
    middle = (low + high) / 2
    made = pruned(teacher, params, middle, by="filters")
    least = share(made[0], teacher)
    if least <= wanted:
      found, high = made, middle
    else:
      low = middle
  if found is None:
    raise ValueError(f"--macs={wanted} is below {least:.3f}, the least that torch-pruning leaves")
  return found


def pruned(teacher: Any, params: Any, ratio: float, *, by: str) -> tuple[Any, Any]:
  """Prunes a share of all channels by torch-pruning; returns (generator, params) of ours."""
  try:
    import torch
    import torch_pruning
  except ImportError as error:
    raise ImportError(f"{error.name} is missing: pip install torch torch-pruning") from error
  from vita_jax.nn.gan_files import from_cyclegan

  module = in_torch(teacher, params)
  importance = torch_pruning.importance
  judge = importance.BNScaleImportance() if by == "scale" else importance.MagnitudeImportance(p=2)
  torch_pruning.pruner.BasePruner(
    module,
    torch.zeros(1, 3, 64, 64),
    importance=judge,
    global_pruning=True,
    pruning_ratio=ratio,
    max_pruning_ratio=0.95,
    ignored_layers=[module.model[-1]],
  ).step()
  state = {name: x.detach().numpy() for name, x in module.state_dict().items()}
  generator, small = from_cyclegan(state)
  return teacher.clone(widths=generator.widths), small


def in_torch(teacher: Any, params: Any) -> Any:
  """Writes a generator as a torch module in the layout of `vita_jax.nn.gan_files`, its weights included."""
  import torch
  from torch import nn

  class Block(nn.Module):
    def __init__(self, width: int, middle: int):
      super().__init__()
      first = [nn.ReflectionPad2d(1), nn.Conv2d(width, middle, 3), nn.InstanceNorm2d(middle, affine=True)]
      second = [nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(middle, width, 3), nn.InstanceNorm2d(width)]
      self.conv_block = nn.Sequential(*first, *second)

    def forward(self, x):
      return x + self.conv_block(x)

  def layer(conv: Any, width: int, *, affine: bool = True) -> list[Any]:
    return [conv, nn.InstanceNorm2d(width, affine=affine), nn.ReLU()]

  w = teacher.widths
  (a, b), (c, d) = w.down, w.up
  modules = [nn.ReflectionPad2d(3), *layer(nn.Conv2d(3, w.stem, 7), w.stem)]
  modules += [*layer(nn.Conv2d(w.stem, a, 3, 2, 1), a), *layer(nn.Conv2d(a, b, 3, 2, 1), b, affine=False)]
  modules += [Block(b, middle) for middle in w.blocks]
  modules += layer(nn.ConvTranspose2d(b, c, 3, 2, 1, output_padding=1), c)
  modules += layer(nn.ConvTranspose2d(c, d, 3, 2, 1, output_padding=1), d)
  module = nn.Module()
  module.model = nn.Sequential(*modules, nn.ReflectionPad2d(3), nn.Conv2d(d, 3, 7))
  module.forward = module.model.forward
  convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
  norms = [m for m in module.modules() if isinstance(m, nn.InstanceNorm2d)]
  with torch.no_grad():
    for own, conv, norm in zip(teacher.layers, convolutions, [*norms, None], strict=True):
      weights = params[own.name]
      axes = (2, 3, 0, 1) if own.transposed else (3, 2, 0, 1)
      conv.weight.copy_(torch.tensor(np.transpose(weights["kernel"], axes)))
      conv.bias.copy_(torch.tensor(np.asarray(weights["bias"])))
      if own.norm == "affine":
        norm.weight.copy_(torch.tensor(np.asarray(weights["scale"])))
        norm.bias.copy_(torch.tensor(np.asarray(weights["shift"])))
  return module.eval()


def experiment(recipe: Any, nets: Any, small: Any, params: Any) -> Any:
  """Returns the experiment that fine-tunes a given network, of which all channels stay."""
  import jax
  import jax.numpy as jnp

  from vita_jax.papers.gan_slimming import read_inputs
  from vita_jax.papers.gan_slimming.data import held_out
  from vita_jax.papers.gan_slimming.report import evaluate_step, look, report
  from vita_jax.papers.gan_slimming.stages import first_state, stages
  from vita_jax.train.experiment import Eval, Experiment

  budget = recipe.budget._replace(macs=0.0)
  recipe = recipe._replace(channels="all", student="narrow", budget=budget)
  nets = nets._replace(student=small, graph=small.channel_graph())
  inputs = read_inputs(recipe)

  def init(key):
    state = first_state(recipe, nets, key)
    return {**state, "params": {**state["params"], "generator": jax.tree.map(jnp.asarray, params)}}

  return Experiment(
    init=init,
    stages=stages(recipe, nets, inputs),
    params=lambda state: state["params"],
    evals={"held_out": Eval(held_out(inputs), partial(evaluate_step, recipe, nets), every=0)},
    report=partial(report, recipe, nets, inputs, partial(look, nets)),
  )


if __name__ == "__main__":
  cli.run(main)
