"""Results for people: tables, intervals, figures, suites. It reads runs and never trains."""

from vita_jax._lazy import submodules
from vita_jax.report.bands import band_figure
from vita_jax.report.curves import curves, write_figures
from vita_jax.report.embedding import embedding, principal_plane
from vita_jax.report.overlay import Curve, curve, overlay
from vita_jax.report.pictures import save_figure
from vita_jax.report.skeletons import draw_skeletons
from vita_jax.report.suite import Line, Row, comma_separated, figure, make_lines, markdown, pair_runs
from vita_jax.report.summary import (
  format_difference,
  format_metric,
  join_summaries,
  paired_interval,
  summarize,
)

__all__ = [
  "Curve",
  "Line",
  "Row",
  "band_figure",
  "comma_separated",
  "curve",
  "curves",
  "draw_skeletons",
  "embedding",
  "figure",
  "format_difference",
  "format_metric",
  "join_summaries",
  "make_lines",
  "markdown",
  "overlay",
  "pair_runs",
  "paired_interval",
  "principal_plane",
  "save_figure",
  "summarize",
  "write_figures",
]
__getattr__, __dir__ = submodules(__name__)
