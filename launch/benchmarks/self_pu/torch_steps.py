"""Worker: nnPU steps of the same MLP on the same kind of batches in torch. Argument: IMAGES."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import now, serve, since
from benchmarks.self_pu.steps import get_config
from vita_jax.papers.self_pu.data import read_inputs
from vita_jax.papers.self_pu.recipe import recipe_of

try:
  import torch
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")


def make_step(config):
  """Returns `step()`: the next interleaved batch, forward, nnPU, backward, Adam with coupled decay."""
  rows = read_inputs(recipe_of(config)).rows
  images = torch.from_numpy(rows["x"])
  positive = np.flatnonzero(rows["positive"] > 0)
  labelled = torch.from_numpy(np.random.default_rng(0).permutation(positive)[: config.data.n_labelled])
  widths, layers = [images[0].numel(), *config.model.hidden], [torch.nn.Flatten()]
  for a, b in zip(widths[:-1], widths[1:], strict=True):
    layers += [torch.nn.Linear(a, b, bias=False), torch.nn.BatchNorm1d(b), torch.nn.ReLU()]
  model = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 1))
  optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=config.weight_decay)
  interleave, size, prior = len(images) // len(labelled) + 1, config.batch_size, config.prior
  epoch, place = {}, 0

  def step() -> None:
    nonlocal place
    if not epoch or place + size > len(labelled) * interleave:
      epoch["p"], epoch["u"] = labelled[torch.randperm(len(labelled))], torch.randperm(len(images))
      place = 0
    k = torch.arange(place, place + size)
    place += size
    known = k % interleave == 0
    chosen = torch.where(
      known, epoch["p"][k // interleave], epoch["u"][(k - k // interleave - 1).clamp(min=0)]
    )
    logits = model(images[chosen].float() / 255)[:, 0]
    as_negative = torch.sigmoid(logits)
    positive_risk = prior * (1 - as_negative)[known].mean()
    negative_risk = as_negative[~known].mean() - prior * as_negative[known].mean()
    loss = positive_risk + negative_risk if negative_risk >= 0 else -negative_risk
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()

  return step


def main(images: str) -> None:
  torch.manual_seed(0)
  step, timings = make_step(get_config(images, "nnpu")), {}
  for threads in (1, 2):
    torch.set_num_threads(threads)
    step(), step()
    start = now()
    for _ in range(10):
      step()
    timings[threads] = since(start).wall
  fastest = min(timings, key=timings.get)
  torch.set_num_threads(fastest)
  serve(lambda n: [step() for _ in range(n)], threads=fastest)


if __name__ == "__main__":
  main(sys.argv[1])
