"""Worker: HRNet in PyTorch, in its fastest setting. Argument: a kind of hrnet.KINDS.

The network is written out here from its paper, with the names of the published state dict.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.autopose.hrnet import BATCH, KINDS, RATE

try:
  import torch
  from torch import nn
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
  """Returns a convolution without bias that pads by half its kernel."""
  return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class Block(nn.Module):
  """A residual block of convolutions, (size, outputs) each."""

  def __init__(self, inputs: int, sizes: Sequence[tuple[int, int]]):
    super().__init__()
    channels, self.count, outputs = inputs, len(sizes), sizes[-1][1]
    for i, (size, features) in enumerate(sizes, start=1):
      setattr(self, f"conv{i}", conv(channels, features, size))
      setattr(self, f"bn{i}", nn.BatchNorm2d(features))
      channels = features
    self.downsample = None
    if inputs != outputs:
      self.downsample = nn.Sequential(conv(inputs, outputs, 1), nn.BatchNorm2d(outputs))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    y = x
    for i in range(1, self.count + 1):
      y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(torch.relu(y) if i > 1 else y))
    return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def sent(width: int, a: int, b: int) -> nn.Module | None:
  """Returns what branch a sends to branch b; None: itself."""
  if a == b:
    return None
  if a > b:
    up = nn.Upsample(scale_factor=2 ** (a - b), mode="nearest")
    return nn.Sequential(conv(width * 2**a, width * 2**b, 1), nn.BatchNorm2d(width * 2**b), up)
  steps = []
  for k in range(b - a):
    last = k == b - a - 1
    features = width * 2 ** (b if last else a)
    layers = [conv(width * 2**a, features, 3, 2), nn.BatchNorm2d(features)]
    steps.append(nn.Sequential(*layers, *([] if last else [nn.ReLU()])))
  return nn.Sequential(*steps)


class Module(nn.Module):
  """Residual blocks in each branch, and the fusion."""

  def __init__(self, width: int, count: int, outputs: int, blocks: int):
    super().__init__()
    channels = [width * 2**b for b in range(count)]
    self.branches = nn.ModuleList(
      nn.Sequential(*(Block(c, [(3, c), (3, c)]) for _ in range(blocks))) for c in channels
    )
    self.fuse_layers = nn.ModuleList(
      nn.ModuleList([sent(width, a, b) for a in range(count)]) for b in range(outputs)
    )

  def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
    ys = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
    return [
      torch.relu(sum(y if layer is None else layer(y) for layer, y in zip(layers, ys, strict=True)))
      for layers in self.fuse_layers
    ]


class HRNet(nn.Module):
  """`vita_jax.nn.hrnet.HRNet` in torch; takes [n, 3, h, w]."""

  def __init__(
    self,
    keypoints: int = 17,
    width: int = 32,
    modules: Sequence[int] = (1, 4, 3),
    blocks: int = 4,
    bottlenecks: int = 4,
    stem: int = 64,
  ):
    super().__init__()
    self.stages = range(2, 2 + len(modules))
    self.conv1, self.bn1 = conv(3, stem, 3, 2), nn.BatchNorm2d(stem)
    self.conv2, self.bn2 = conv(stem, stem, 3, 2), nn.BatchNorm2d(stem)
    sizes = [(1, stem), (3, stem), (1, 4 * stem)]
    self.layer1 = nn.Sequential(*(Block(4 * stem if i else stem, sizes) for i in range(bottlenecks)))
    channels = [4 * stem]
    for stage, count in zip(self.stages, modules, strict=True):
      wanted = [width * 2**b for b in range(stage)]
      setattr(self, f"transition{stage - 1}", self._transition(channels, wanted))
      last = stage == self.stages[-1]
      parts = [Module(width, stage, 1 if last and i == count - 1 else stage, blocks) for i in range(count)]
      setattr(self, f"stage{stage}", nn.Sequential(*parts))
      channels = wanted
    self.final_layer = nn.Conv2d(width, keypoints, 1)

  def _transition(self, channels: Sequence[int], wanted: Sequence[int]) -> nn.ModuleList:
    layers: list[Any] = []
    for b, features in enumerate(wanted):
      rest = [nn.BatchNorm2d(features), nn.ReLU()]
      if b == len(channels):
        layers.append(nn.Sequential(nn.Sequential(conv(channels[-1], features, 3, 2), *rest)))
      elif channels[b] != features:
        layers.append(nn.Sequential(conv(channels[b], features, 3), *rest))
      else:
        layers.append(None)
    return nn.ModuleList(layers)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    x = torch.relu(self.bn1(self.conv1(x)))
    xs = [self.layer1(torch.relu(self.bn2(self.conv2(x))))]
    for stage in self.stages:
      layers = getattr(self, f"transition{stage - 1}")
      xs = [
        xs[b] if layer is None else layer(xs[b] if b < len(xs) else xs[-1]) for b, layer in enumerate(layers)
      ]
      xs = getattr(self, f"stage{stage}")(xs)
    return self.final_layer(xs[0])


def make_step(kind: str, memory: torch.memory_format) -> Callable[[], Any]:
  """Returns `step()`: the forward pass in evaluation mode, or a training step with Adam."""
  torch.manual_seed(0)
  one = KINDS[kind]
  net = HRNet(**one.options).to(memory_format=memory)
  height, width = one.size
  images = torch.randn(BATCH[kind], 3, height, width).contiguous(memory_format=memory)
  if not one.train:
    net.eval()

    def forward() -> None:
      with torch.no_grad():
        net(images)

    return forward
  net.train()
  optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
  targets = torch.rand(BATCH[kind], 17, height // 4, width // 4).contiguous(memory_format=memory)

  def step() -> None:
    loss = 0.5 * torch.mean((net(images) - targets) ** 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

  return step


if __name__ == "__main__":
  from benchmarks.fastest_torch import serve_fastest

  serve_fastest(torch, functools.partial(make_step, sys.argv[1]))
