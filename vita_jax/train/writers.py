"""What a user sees of a run: metrics.jsonl and TensorBoard files, and a progress bar or plain lines."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vita_jax.base.files import write_text
from vita_jax.report.rows import read_rows, seed_mean


class Logs(NamedTuple):
  """`write(row)` appends to metrics.jsonl and TensorBoard; `close()` flushes both."""

  write: Callable[[dict[str, Any]], None]
  close: Callable[[], None]


NO_LOGS = Logs(lambda row: None, lambda: None)  # of the processes that write nothing


def open_logs(workdir: Path, *, step: int) -> Logs:
  """Opens the logs of a run that continues at `step`: rows beyond it, or torn by a kill, are dropped."""
  from tensorboardX import SummaryWriter

  path = Path(workdir) / "metrics.jsonl"
  rows = [row for row in read_rows(path) if row["step"] <= step]
  write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
  file = path.open("a", buffering=1)
  board = SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=step + 1)

  def name(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["stage"], row["at"], row["split"]

  written = {name(row) for row in rows if row["step"] == step}  # a finished stage is evaluated once more

  def write(row: dict[str, Any]) -> None:
    if name(row) in written:
      return
    file.write(json.dumps(row) + "\n")
    for metric, value in row["metrics"].items():
      if (number := seed_mean(value)) is not None:
        board.add_scalar(f"{row['stage']}/{row['split']}_{metric}", number, row["step"])

  def close() -> None:
    file.close()
    board.close()

  return Logs(write, close)


class Display(NamedTuple):
  """`update(stage, at, steps, metrics)` moves the bar; `line(text)` prints above it; `close()` ends it."""

  update: Callable[[str, int, int, dict[str, Any]], None]
  line: Callable[[str], None]
  close: Callable[[], None]


def open_display(*, quiet: bool = False, seconds_between_lines: float = 10.0) -> Display:
  """A rich progress bar with rate and ETA on a terminal; plain lines elsewhere; nothing when `quiet`."""
  if quiet:
    return Display(lambda *_: None, lambda text: None, lambda: None)
  return _bar() if sys.stderr.isatty() else _plain(seconds_between_lines)


def _shown(metrics: dict[str, Any]) -> str:
  means = {name: seed_mean(value) for name, value in metrics.items()}
  kept = [(n, v) for n, v in means.items() if v is not None and (n != "skipped" or v > 0)]
  return "  ".join(f"{n} {v:.4g}" for n, v in kept if math.isfinite(v))


def _plain(seconds_between: float) -> Display:
  last = {"time": time.monotonic(), "stage": ""}

  def update(stage, at, steps, metrics):
    now = time.monotonic()
    if stage != last["stage"] or now - last["time"] >= seconds_between:
      last.update(time=now, stage=stage)
      print(f"[{stage}] step {at}/{steps}  {_shown(metrics)}", file=sys.stderr, flush=True)

  return Display(update, lambda text: print(text, file=sys.stderr, flush=True), lambda: None)


def _bar() -> Display:
  from rich.console import Console
  from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

  columns = (
    TextColumn("[bold]{task.description}"),
    BarColumn(bar_width=24),
    MofNCompleteColumn(),
    TextColumn("{task.fields[rate]}"),
    TimeRemainingColumn(),
    TextColumn("[dim]{task.fields[shown]}"),
  )
  bar = Progress(*columns, console=Console(stderr=True))
  bar.start()
  tasks: dict[str, Any] = {}

  def update(stage, at, steps, metrics):
    if stage not in tasks:
      tasks[stage] = bar.add_task(stage, total=steps, rate="", shown="", completed=at)
    speed = bar.tasks[tasks[stage]].speed
    rate = f"{speed:,.0f} steps/s" if speed and speed > 10 else (f"{speed:.2f} steps/s" if speed else "")
    bar.update(tasks[stage], completed=at, rate=rate, shown=_shown(metrics))

  return Display(update, bar.console.print, bar.stop)
