"""Worker: the same slimming step in PyTorch, in its fastest of four settings. Argument: "gs32" or "gs8"."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable

from benchmarks.fastest_torch import serve_fastest

try:
  import torch
  from torch import nn
  from torch.nn import functional
except ImportError as error:
  sys.exit(f"{error.name} is missing, which this comparison needs: pip install 'vita_jax[bench]'")

BASE, BLOCKS, DISCRIMINATOR, CROP, PICTURES, POOL = 24, 4, 16, 64, 8, 50
RATE, GATE_RATE, DISCRIMINATOR_RATE, DECAY, RHO, BETA, CLIP = 1e-5, 0.1, 1e-5, 1e-3, 0.01, 20.0, 4.0


def rounded(x: torch.Tensor) -> torch.Tensor:
  """Rounds with the gradient of the identity."""
  return x + (torch.round(x) - x).detach()


class Layer(nn.Module):
  """Convolution, instance norm, ReLU; with `quantise` 8-bit weights and, unless it is the first, inputs."""

  def __init__(self, conv: nn.Module, *, affine: bool, relu: bool, reflect: int, signed: bool | None):
    super().__init__()
    self.conv, self.relu, self.reflect, self.signed = conv, relu, reflect, signed
    self.norm = nn.InstanceNorm2d(conv.out_channels, affine=affine)
    self.quantise = False

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    conv = self.conv
    if self.reflect:
      x = functional.pad(x, (self.reflect,) * 4, mode="reflect")
    weight = conv.weight
    if self.quantise:
      unit = weight.detach().abs().max().clamp(min=1e-8) / 127
      weight = rounded(weight / unit) * unit
      if self.signed is not None:
        most = 127 if self.signed else 255
        x = rounded(x.clamp(-CLIP if self.signed else 0.0, CLIP) * (most / CLIP)) * (CLIP / most)
    if isinstance(conv, nn.ConvTranspose2d):
      x = functional.conv_transpose2d(x, weight, conv.bias, 2, 1, 1)
    else:
      x = functional.conv2d(x, weight, conv.bias, conv.stride, conv.padding)
    x = self.norm(x)
    return functional.relu(x) if self.relu else x


class Generator(nn.Module):
  """The CycleGAN generator."""

  def __init__(self) -> None:
    super().__init__()

    def layer(inputs: int, outputs: int, kernel: int, stride: int = 1, **options) -> Layer:
      reflect = options.setdefault("reflect", 0)
      options = {"affine": True, "relu": True, "signed": False} | options
      padding = 0 if reflect else kernel // 2
      return Layer(nn.Conv2d(inputs, outputs, kernel, stride, padding), **options)

    def up(inputs: int, outputs: int, *, signed: bool) -> Layer:
      conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
      return Layer(conv, affine=True, relu=True, reflect=0, signed=signed)

    a, b, c = BASE, 2 * BASE, 4 * BASE
    self.first = nn.Sequential(
      layer(3, a, 7, reflect=3, signed=None), layer(a, b, 3, 2), layer(b, c, 3, 2, affine=False)
    )
    self.blocks = nn.ModuleList(
      nn.Sequential(
        layer(c, c, 3, reflect=1, signed=i > 0), layer(c, c, 3, reflect=1, affine=False, relu=False)
      )
      for i in range(BLOCKS)
    )
    self.last = nn.Sequential(up(c, b, signed=True), up(b, a, signed=False))
    self.head = Layer(nn.Conv2d(a, 3, 7), affine=False, relu=False, reflect=3, signed=False)
    self.head.norm = nn.Identity()

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    x = self.first(x)
    for block in self.blocks:
      x = x + block(x)
    return torch.tanh(self.head(self.last(x)))


def discriminator() -> nn.Module:
  """Returns the patch discriminator."""
  widths = [3, DISCRIMINATOR, 2 * DISCRIMINATOR, 4 * DISCRIMINATOR, 8 * DISCRIMINATOR]
  layers: list[nn.Module] = []
  for i, (a, b) in enumerate(itertools.pairwise(widths)):
    layers.append(nn.Conv2d(a, b, 4, 2 if i < 3 else 1, 1))
    layers += [nn.InstanceNorm2d(b, affine=True)] if i else []
    layers.append(nn.LeakyReLU(0.2))
  return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))


def make_step(kind: str, memory: torch.memory_format) -> Callable[[], None]:
  """Returns `step()`: student and discriminator learn from the same pictures; ISTA, coupled Adams, pool."""
  torch.manual_seed(0)
  teacher, student = Generator().to(memory_format=memory), Generator().to(memory_format=memory)
  student.load_state_dict(teacher.state_dict())
  critic = discriminator().to(memory_format=memory)
  for layer in student.modules():
    if isinstance(layer, Layer):
      layer.quantise = kind == "gs8"
  gated = [layer.norm for layer in student.modules() if isinstance(layer, Layer) and layer.norm is not None]
  gated = [norm for norm in gated if getattr(norm, "affine", False)]
  gammas = [norm.weight for norm in gated]
  others = [p for p in student.parameters() if not any(p is gamma for gamma in gammas)]
  gates = torch.optim.SGD(gammas, lr=GATE_RATE, momentum=0.5)
  weights = torch.optim.Adam(others, lr=RATE, betas=(0.5, 0.999), weight_decay=DECAY)
  critic_optimizer = torch.optim.Adam(
    critic.parameters(), lr=DISCRIMINATOR_RATE, betas=(0.5, 0.999), weight_decay=DECAY
  )
  images = torch.randint(0, 256, (PICTURES, 3, CROP, CROP), dtype=torch.uint8).contiguous(
    memory_format=memory
  )
  pool: list[torch.Tensor] = []

  def shown(pictures: torch.Tensor) -> torch.Tensor:
    found = []
    for picture in pictures:
      if len(pool) < POOL:
        pool.append(picture)
        found.append(picture)
      elif torch.rand(()) < 0.5:
        place = int(torch.randint(POOL, ()))
        found.append(pool[place])
        pool[place] = picture
      else:
        found.append(picture)
    return torch.stack(found)

  def score(pictures: torch.Tensor) -> torch.Tensor:
    return critic(pictures).mean(dim=(1, 2, 3))

  def step() -> None:
    x = images.float() / 127.5 - 1
    with torch.no_grad():
      wanted = teacher(x)
    for p in critic.parameters():
      p.requires_grad_(False)
    given = student(x)
    loss = BETA * functional.mse_loss(given, wanted) + ((score(given) - 1) ** 2).mean()
    gates.zero_grad()
    weights.zero_grad()
    loss.backward()
    gates.step()
    weights.step()
    with torch.no_grad():
      for norm in gated:
        gamma = norm.weight
        gamma.copy_(torch.sign(gamma) * (gamma.abs() - RHO * GATE_RATE).clamp(min=0))
        norm.bias.mul_(gamma != 0)
    for p in critic.parameters():
      p.requires_grad_(True)
    scores = score(torch.cat([wanted, shown(given.detach())]).contiguous(memory_format=memory))
    real, fake = scores.split(PICTURES)
    critic_optimizer.zero_grad()
    (0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())).backward()
    critic_optimizer.step()

  return step


if __name__ == "__main__":
  serve_fastest(torch, functools.partial(make_step, sys.argv[1]))
