"""Labels from columns as they come."""

import numpy as np
import pytest

from vita_jax import audit


def _of(values):
  found = audit.as_private("s", values)
  return found.classes, found.values.tolist()


def test_columns_become_classes_or_values():
  assert _of(["b", "a", "b"]) == (("a", "b"), [1, 0, 1])
  assert _of(np.array([True, False])) == (("False", "True"), [1, 0])
  assert _of([10, 9, 10, 2]) == (("2", "9", "10"), [2, 1, 2, 0])  # in the order of numbers
  assert _of([1.0, 2.0, 1.0]) == (("1", "2"), [0, 1, 0])
  assert _of(["1.0", "1", "2"])[1] == [0, 0, 1]
  assert audit.as_private("s", [0.05, -0.04, 0.05]).values.tolist() == [1, 0, 1]  # two numbers are classes
  assert _of([0.5, 1.5, 2.5])[0] == () and _of(np.arange(21))[0] == ()
  assert audit.as_target([3, 7, 7]).values.tolist() == [0, 1, 1]


@pytest.mark.filterwarnings("ignore:.*spells")
@pytest.mark.parametrize(
  "values,message",
  [
    ([[1], [2]], "one dimension"),
    ([1.0, np.nan, 2.0], "row 2: column 's' has no value"),
    (["a", None, "b"], "row 2: column 's' has no value"),
    ([1.0, np.inf], "row 2: column 's' is infinite"),
  ],
)
def test_columns_that_cannot_be_labels(values, message):
  with pytest.raises(ValueError, match=message):
    audit.as_private("s", np.array(values, object if None in values else None))


def test_a_target_has_two_classes():
  with pytest.raises(ValueError, match="the target has 3 classes, two classes are needed"):
    audit.as_target([1, 2, 3])
  with pytest.raises(ValueError, match="the target has many values"):
    audit.as_target(np.linspace(0, 1, 30))
  with pytest.raises(ValueError, match="'s' has 3 rows, the representation 4"):
    audit.audit(np.zeros((4, 1)), private={"s": [1, 2, 1]})
