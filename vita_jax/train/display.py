"""What a user sees while a run goes on: a bar that fits its terminal, or plain lines at least every 30 s."""

from __future__ import annotations

import collections
import contextlib
import math
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

from vita_jax.report.rows import seed_mean

SECONDS_BETWEEN_LINES = 10.0  # of plain lines with new numbers
SECONDS_OF_SILENCE = 30.0  # at most, of plain output
SHORT = {
  "validation": "val",
  "accuracy": "acc",
  "learning_rate": "lr",
  "gradient": "grad",
  "probability": "prob",
  "objective": "obj",
  "adversary": "adv",
}
FIRST = ("skipped", "loss", "accuracy")  # the metrics that are shown before all others


class Display(Protocol):
  """What the loop tells of its progress."""

  def begin(self, stage: str, at: int, steps: int) -> None:
    """Shows that a stage goes on at step `at` of `steps`; until the first `update` it is compiled."""

  def update(self, stage: str, at: int, steps: int, metrics: dict[str, Any]) -> None:
    """Shows that step `at` is done; `metrics` are the newest known, {} if there are none."""

  def busy(self, what: str) -> None:
    """Shows that something without steps goes on, e.g. the report."""

  def line(self, text: str) -> None:
    """Prints a line of its own."""

  def close(self) -> None:
    """Ends the display; nothing is shown afterwards."""


def open_display(*, quiet: bool = False) -> Display:
  """Opens a bar on a terminal, plain lines elsewhere, and nothing where `quiet`."""
  if quiet:
    return Silent()
  return Bar() if sys.stderr.isatty() else Plain()


@contextlib.contextmanager
def waiting(what: str, *, quiet: bool = False) -> Iterator[None]:
  """Shows that something without steps goes on, e.g. the preparation of data, if it takes a while."""
  display = open_display(quiet=quiet)
  display.busy(what)
  try:
    yield
  finally:
    display.close()


class Silent:
  """Shows nothing."""

  def begin(self, stage: str, at: int, steps: int) -> None:
    pass

  def update(self, stage: str, at: int, steps: int, metrics: dict[str, Any]) -> None:
    pass

  def busy(self, what: str) -> None:
    pass

  def line(self, text: str) -> None:
    pass

  def close(self) -> None:
    pass


class Plain:
  """Lines on stderr: when a stage begins, every 10 s with new numbers, after 30 s of silence at most."""

  def __init__(self, *, between: float = SECONDS_BETWEEN_LINES, silence: float = SECONDS_OF_SILENCE):
    self._between, self._silence = between, silence
    self._now, self._since, self._printed = "", time.monotonic(), time.monotonic()
    self._metrics: dict[str, Any] = {}
    self._fresh = True  # no numbers of this stage were printed yet
    self._over = threading.Event()
    # A daemon: a run never waits for what only prints.
    threading.Thread(target=self._speak_up, name="vita_display", daemon=True).start()

  def begin(self, stage: str, at: int, steps: int) -> None:
    self._set(f"[{stage}] step {at}/{steps}: compiling", {})
    self._fresh = True
    self.line(self._now)

  def update(self, stage: str, at: int, steps: int, metrics: dict[str, Any]) -> None:
    self._set(f"[{stage}] step {at}/{steps}", metrics or self._metrics)
    if metrics and (self._fresh or time.monotonic() - self._printed >= self._between):
      self._fresh = False
      self.line(f"{self._now}  {shown(metrics)}")

  def busy(self, what: str) -> None:
    self._set(what, {})

  def line(self, text: str) -> None:
    self._printed = time.monotonic()
    with contextlib.suppress(OSError, ValueError):  # nobody reads any more: no reason to stop a run
      print(text, file=sys.stderr, flush=True)

  def close(self) -> None:
    self._over.set()

  def _set(self, now: str, metrics: dict[str, Any]) -> None:
    if now != self._now:
      self._now, self._since = now, time.monotonic()
    self._metrics = metrics

  def _speak_up(self) -> None:
    while not self._over.wait(max(0.01, self._printed + self._silence - time.monotonic())):
      if time.monotonic() - self._printed >= self._silence and self._now:
        seconds = time.monotonic() - self._since
        waited = f"({seconds:.0f} s)" if seconds >= 1 else ""  # how long it has been at this
        self.line("  ".join(filter(None, [self._now, shown(self._metrics), waited])))


class Bar:
  """A line per stage on a terminal: bar, step, total, rate, time left, and the metrics that still fit."""

  def __init__(self):
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class Line(ProgressColumn):
      max_refresh = 0.2

      def render(column, task: Task) -> Text:  # noqa: N805
        return Text(self._text(task.description), no_wrap=True, overflow="crop", end="")

    self._console = Console(stderr=True)
    self._bar = Progress(Line(), console=self._console, refresh_per_second=5)
    self._tasks: dict[str, Any] = {}
    self._stages: dict[str, StageProgress] = {}
    self._bar.start()

  def begin(self, stage: str, at: int, steps: int) -> None:
    self._end_busy()
    self._stages[stage] = StageProgress(at, steps)
    self._tasks.setdefault(stage, self._bar.add_task(stage, total=max(steps, 1), completed=at))

  def update(self, stage: str, at: int, steps: int, metrics: dict[str, Any]) -> None:
    if stage not in self._stages:
      self.begin(stage, at, steps)
    self._stages[stage].move(at, metrics)
    self._bar.update(self._tasks[stage], completed=at)

  def busy(self, what: str) -> None:
    self.begin(what, 0, 0)

  def line(self, text: str) -> None:
    self._console.print(text, markup=False, highlight=False)

  def close(self) -> None:
    self._end_busy()
    self._bar.stop()

  def _end_busy(self) -> None:
    for stage in [name for name, pace in self._stages.items() if pace.steps == 0]:
      self._bar.remove_task(self._tasks.pop(stage))
      del self._stages[stage]

  def _text(self, stage: str) -> str:
    width = max(20, self._console.width - 1)
    plain = not (self._console.encoding or "").lower().startswith("utf")
    return progress_line(stage, self._stages[stage], width, plain=plain)


class StageProgress:
  """Where a stage is, and how fast it went over the last half minute."""

  def __init__(self, at: int, steps: int):
    self.at, self.steps = at, steps
    self.metrics: dict[str, Any] = {}
    self.started, self.moved = time.monotonic(), False
    self._marks: collections.deque[tuple[float, int]] = collections.deque()

  def move(self, at: int, metrics: dict[str, Any]) -> None:
    """Records that step `at` is done."""
    now = time.monotonic()
    self.at, self.moved, self.metrics = at, True, metrics or self.metrics
    self._marks.append((now, at))
    while len(self._marks) > 2 and now - self._marks[0][0] > 30:
      self._marks.popleft()

  def rate(self) -> float | None:
    """Returns steps per second; None while it is unknown."""
    if len(self._marks) < 2:
      return None
    (start, first), (end, last) = self._marks[0], self._marks[-1]
    return (last - first) / (end - start) if last > first and end > start else None


def progress_line(stage: str, pace: StageProgress, width: int, *, plain: bool = False) -> str:
  """Returns a line of at most `width` columns: what must be known always fits, metrics fill what is left."""
  seconds = time.monotonic() - pace.started
  if pace.steps == 0 or not pace.moved:
    where = f" step {pace.at}/{pace.steps}: compiling" if pace.steps else ""
    return _cut(f"{stage}{where}, {seconds:.0f} s", width)
  rate = pace.rate()
  left = _clock((pace.steps - pace.at) / rate) if rate else "-:--"
  fixed = f"{pace.at}/{pace.steps} {_speed(rate):>8} {left}"
  name = _cut(stage, max(4, min(14, width - len(fixed) - 8)))
  room = width - len(name) - len(fixed) - 2
  if room < 4:
    return _cut(f"{name} {fixed}", width)
  cells = min(20, max(4, room // 3))
  done = min(cells, cells * pace.at // max(pace.steps, 1))
  bar = ("#" * done + "-" * (cells - done)) if plain else ("━" * done + "╌" * (cells - done))
  text = f"{name} {bar} {fixed}"
  for metric in _metrics(pace.metrics):
    if len(text) + 2 + len(metric) <= width:
      text += f"  {metric}"
  return text


def shown(metrics: dict[str, Any]) -> str:
  """Returns the finite metrics as text, by their full names, means over seeds."""
  return "  ".join(f"{name} {value:.4g}" for name, value in _finite(metrics).items())


def _metrics(metrics: dict[str, Any]) -> list[str]:
  """The metrics as short texts, the most important first."""
  found = _finite(metrics)
  order = sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
  return [f"{_short(name)} {found[name]:.4g}" for name in order]


def _finite(metrics: dict[str, Any]) -> dict[str, float]:
  means = {name: seed_mean(value) for name, value in metrics.items()}
  kept = {name: mean for name, mean in means.items() if mean is not None and math.isfinite(mean)}
  return {name: mean for name, mean in kept.items() if name != "skipped" or mean > 0}


def _short(name: str) -> str:
  for word, short in SHORT.items():
    name = name.replace(word, short)
  return _cut(name, 14)


def _speed(rate: float | None) -> str:
  if rate is None:
    return ""
  if rate >= 1:
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
  return f"{1 / rate:.1f} s each"


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(math.ceil(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _cut(text: str, width: int) -> str:
  return text if len(text) <= width else text[: max(1, width - 1)] + "…"
