"""The steps of AutoPose that `make gpu` times: HRNet, a search, and a network of the space by itself."""

from __future__ import annotations

import functools
from typing import Any

import jax

from benchmarks.autopose import hrnet
from benchmarks.one_step import Step, of_config

FIGURES = {"data.count": (200, 20), "train.steps": 10, "search.steps": 100, "search.warm": 30}


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: HRNet reduced and on 64 x 64 pictures, for a CPU, else W32 on 256 x 192."""
  kind, title = ("step", "reduced HRNet, 24 x 64^2") if small else ("forward", "HRNet-W32, 1 x 256 x 192")
  figures = functools.partial(of_config, seeds=1, **FIGURES)
  return [
    Step(f"autopose {kind}, {title}", functools.partial(as_step, kind)),
    Step("autopose search, figures 16 x 64^2", figures("configs/autopose/figures.py:search")),
    Step("autopose train, figures 24 x 64^2", figures("configs/autopose/figures.py:retrain:all_edges")),
  ]


def as_step(kind: str) -> tuple[Any, Any, Any]:
  """Makes (step, state, batch) of HRNet."""
  function, state, batch = hrnet.make(kind, form="native")

  def step(state: Any, batch: Any, t: jax.Array) -> tuple[Any, dict]:
    del t
    if kind == "step":
      return function(state, batch), {}
    maps = function(state["variables"], batch)
    return {**state, "out": maps}, {}

  if kind == "step":
    return step, state, batch
  maps = jax.eval_shape(function, state, batch)
  return step, {"variables": state, "out": jax.numpy.zeros(maps.shape, maps.dtype)}, batch
