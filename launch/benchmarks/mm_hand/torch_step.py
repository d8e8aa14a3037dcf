"""Worker: the step of step.py in PyTorch: generator, then both judges, pools and guidance maps included."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks.fastest_torch import serve_fastest

WIDTH, BLOCKS, JUDGE_BLOCKS, BATCH, SIZE, POOL, RATE = 12, 3, 3, 4, 64, 50, 2e-4
GAN, L1, SIGMA = 5.0, 10.0, 6.0 * SIZE / 256


def layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
  """Convolution, batch norm and ReLU; without stride the border is mirrored."""
  pad = [nn.ReflectionPad2d(kernel // 2)] if stride == 1 else []
  conv = nn.Conv2d(inputs, outputs, kernel, stride, 0 if pad else 1, bias=False)
  return [*pad, conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def encoder(inputs: int) -> nn.Sequential:
  """7x7, then two that halve."""
  down = [*layer(WIDTH, 2 * WIDTH, 3, 2), *layer(2 * WIDTH, 4 * WIDTH, 3, 2)]
  return nn.Sequential(*layer(inputs, WIDTH, 7), *down)


def branch(inputs: int, *, normed: bool) -> nn.Sequential:
  """Two 3x3, dropout between them."""
  last = nn.Conv2d(inputs, 4 * WIDTH, 3, bias=False)
  norm = [nn.BatchNorm2d(4 * WIDTH)] if normed else []
  return nn.Sequential(*layer(inputs, inputs, 3), nn.Dropout(0.5), nn.ReflectionPad2d(1), last, *norm)


class Generator(nn.Module):
  """Three streams."""

  def __init__(self) -> None:
    super().__init__()
    self.encoders = nn.ModuleList(encoder(c) for c in (3, 42, 6))
    self.blocks = nn.ModuleList(
      nn.ModuleList(
        [
          branch(4 * WIDTH, normed=True),
          *(branch((8 if i else 4) * WIDTH, normed=False) for _ in range(2)),
        ]
      )
      for i in range(BLOCKS)
    )
    up: list[nn.Module] = []
    for i in (4, 2):
      conv = nn.ConvTranspose2d(i * WIDTH, i * WIDTH // 2, 3, 2, 1, output_padding=1, bias=False)
      up += [conv, nn.BatchNorm2d(i * WIDTH // 2), nn.ReLU()]
    self.up = nn.Sequential(*up, nn.ReflectionPad2d(3), nn.Conv2d(WIDTH, 3, 7), nn.Tanh())

  def forward(self, *streams: torch.Tensor) -> torch.Tensor:
    x, *guides = (own(s) for own, s in zip(self.encoders, streams, strict=True))
    for block in self.blocks:
      first, *others = block
      found = [own(g) for own, g in zip(others, guides, strict=True)]
      x = x + first(x) * torch.sigmoid(found[0]) * torch.sigmoid(found[1])
      guides = [torch.cat([v, x], 1) for v in found]
    return self.up(x)


class Judge(nn.Module):
  """Residual blocks whose channels are all logits."""

  def __init__(self, inputs: int) -> None:
    super().__init__()
    self.first = encoder(inputs)
    self.blocks = nn.ModuleList(branch(4 * WIDTH, normed=True) for _ in range(JUDGE_BLOCKS))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    x = self.first(x)
    for block in self.blocks:
      x = x + block(x)
    return x


def heat_maps(uv: torch.Tensor) -> torch.Tensor:
  """[n, 21, 2] -> [n, 21, S, S]."""
  places = torch.arange(SIZE, dtype=torch.float32)
  x, y = (torch.exp(-((places - uv[..., i, None]) ** 2) / (2 * SIGMA**2)) for i in (0, 1))
  maps = y[..., :, None] * x[..., None, :]
  return torch.where(maps >= 0.0099, maps, torch.zeros(()))


def make_step(memory: torch.memory_format) -> Callable[[], None]:
  """Returns `step()`; depth maps come as they are, heat maps are made."""
  torch.manual_seed(0)
  nets = [Generator(), Judge(6), Judge(24)]
  generator, appearance, shape = (net.to(memory_format=memory).train() for net in nets)
  optimizers = [torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.5, 0.999)) for net in nets]
  source, target = (
    2 * torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=memory) - 1 for _ in range(2)
  )
  depth = torch.rand(BATCH, 6, SIZE, SIZE).contiguous(memory_format=memory)
  first, second = (SIZE * torch.rand(BATCH, 21, 2) for _ in range(2))
  pools: list[list[torch.Tensor]] = [[], []]

  def shown(pool: list[torch.Tensor], fakes: torch.Tensor) -> torch.Tensor:
    found = []
    for fake in fakes:
      if len(pool) < POOL:
        pool.append(fake)
        found.append(fake)
      elif torch.rand(()) < 0.5:
        place = int(torch.randint(POOL, ()))
        found.append(pool[place])
        pool[place] = fake
      else:
        found.append(fake)
    return torch.stack(found).contiguous(memory_format=memory)

  def step() -> None:
    maps = [heat_maps(uv) for uv in (first, second)]
    fake = generator(source, torch.cat(maps, 1), depth)
    judges = ((appearance, source), (shape, maps[1]))
    for judge, _ in judges:
      judge.requires_grad_(False)
    opinions = [functional.softplus(-judge(torch.cat([fake, given], 1))).mean() for judge, given in judges]
    loss = L1 * (fake - target).abs().mean() + GAN * sum(opinions) / 2
    optimizers[0].zero_grad()
    loss.backward()
    optimizers[0].step()
    for (judge, given), optimizer, pool in zip(judges, optimizers[1:], pools, strict=True):
      judge.requires_grad_(True)
      old = shown(pool, torch.cat([fake.detach(), given], 1))
      real = functional.softplus(-judge(torch.cat([target, given], 1))).mean()
      own = functional.softplus(judge(old)).mean()
      optimizer.zero_grad()
      (GAN * 0.5 * (real + own)).backward()
      optimizer.step()

  return step


if __name__ == "__main__":
  serve_fastest(torch, make_step)
