"""Worker: the same step in PyTorch, in its fastest of four settings. Argument: "plain" or "proxy"."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from benchmarks.fastest_torch import serve_fastest

try:
  import torch
  from torch import nn
  from torch.nn import functional
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")

BATCH, SIDE, RATE, MOMENTUM, DECAY, LAMBDA = 32, 64, 2e-4, 0.9, 5e-4, 0.1
# (kernel, stride of the first, expansion, features, repeats), as EfficientNet's authors have them.
GROUPS = (
  (3, 1, 1, 16, 1),
  (3, 2, 6, 24, 2),
  (5, 2, 6, 40, 2),
  (3, 2, 6, 80, 3),
  (5, 1, 6, 112, 3),
  (5, 2, 6, 192, 4),
  (3, 1, 6, 320, 1),
)


def layer(
  inputs: int, outputs: int, size: int, stride: int, groups: int = 1, *, relu: bool = True
) -> nn.Module:
  """Convolution, batch norm, ReLU6."""
  conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
  parts = [conv, nn.BatchNorm2d(outputs, eps=1e-3)]
  return nn.Sequential(*parts, *([nn.ReLU6()] if relu else []))


class Block(nn.Module):
  """An inverted residual without squeeze-excitation."""

  def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int):
    super().__init__()
    inner = inputs * expansion
    first = [layer(inputs, inner, 1, 1)] if expansion > 1 else []
    last = layer(inner, outputs, 1, 1, relu=False)
    self.layers = nn.Sequential(*first, layer(inner, inner, size, stride, inner), last)
    self.residual = stride == 1 and inputs == outputs

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    y = self.layers(x)
    return x + y if self.residual else y


class Trunk(nn.Module):
  """EfficientNet-Lite0 up to its 1280 features."""

  def __init__(self) -> None:
    super().__init__()
    blocks, inputs = [], 32
    for size, first, expansion, outputs, repeats in GROUPS:
      for i in range(repeats):
        blocks.append(Block(inputs, outputs, size, first if i == 0 else 1, expansion))
        inputs = outputs
    self.layers = nn.Sequential(layer(3, 32, 3, 2), *blocks, layer(320, 1280, 1, 1))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.layers(x).mean(dim=(2, 3))


def make_step(kind: str, memory: torch.memory_format) -> Callable[[], None]:
  """Returns `step()`: cross-entropy, and with "proxy" the KL term to a frozen teacher; SGD."""
  torch.manual_seed(0)
  student, teacher, old = Trunk(), Trunk(), nn.Linear(1280, 1000)
  teacher.load_state_dict(student.state_dict())
  for part in (student, teacher):
    part.to(memory_format=memory).eval()
  head = nn.Sequential(nn.Linear(1280, 512), nn.ReLU(), nn.Linear(512, 10))
  trained = [*student.parameters(), *head.parameters()]
  optimizer = torch.optim.SGD(trained, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
  images = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8).contiguous(memory_format=memory)
  labels = torch.randint(0, 10, (BATCH,))
  old.requires_grad_(False)

  def step() -> None:
    x = (images.float() - 127) / 128
    features = student(x)
    loss = functional.cross_entropy(head(features), labels)
    if kind == "proxy":
      with torch.no_grad():
        wanted = functional.log_softmax(old(teacher(x)), dim=1)
      found = functional.log_softmax(old(features), dim=1)
      loss = loss + LAMBDA * functional.kl_div(found, wanted, log_target=True, reduction="batchmean")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

  return step


if __name__ == "__main__":
  serve_fastest(torch, functools.partial(make_step, sys.argv[1]))
