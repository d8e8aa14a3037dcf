"""The picture of representations: legend, axes, and inputs that leave little to draw."""

import numpy as np
import pytest

from vita_jax.report import embedding, principal_plane


def test_the_legend_names_the_classes_and_the_axes_say_what_they_are():
  points = np.random.default_rng(0).normal(size=(60, 5)) * [9, 3, 1, 1, 1]
  figure = embedding(points, np.arange(60) % 4 - 1, title="mine")
  (axes,) = figure.axes
  assert [text.get_text() for text in axes.get_legend().get_texts()] == ["class 0", "class 1", "class 2"]
  assert "1st principal axis" in axes.get_xlabel() and axes.get_title() == "mine"
  assert sum(len(drawn.get_offsets()) for drawn in axes.collections) == 45  # rows of class -1 are left out


def test_many_classes_share_a_colour_bar():
  figure = embedding(np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 20)
  assert len(figure.axes) == 2 and figure.axes[0].get_legend() is None


@pytest.mark.parametrize("points", [np.ones((5, 1)), np.ones((1, 3)), np.zeros((4, 2)), np.eye(3)[:, :1]])
def test_little_to_see_is_drawn_all_the_same(points, tmp_path):
  embedding(points, np.zeros(len(points), int)).savefig(tmp_path / "one.png")


def test_what_cannot_be_drawn_is_named():
  with pytest.raises(ValueError, match="points are not finite"):
    embedding(np.array([[np.nan, 1.0]]), np.array([0]))
  with pytest.raises(ValueError, match=r"points must be \[n, d\]"):
    embedding(np.ones(3), np.zeros(3, int))


def test_principal_plane_by_hand():
  plane, shares = principal_plane(np.array([[3.0, 0, 1], [-3, 0, 1], [0, 1, 1], [0, -1, 1]]))
  np.testing.assert_allclose(np.abs(plane), [[3, 0], [3, 0], [0, 1], [0, 1]], atol=1e-12)
  np.testing.assert_allclose(shares, [0.9, 0.1])
