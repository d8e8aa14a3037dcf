"""Tables with a schema: what `fit` may look at, what comes out, and every fault in one line."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data import tables, tabular
from vita_jax.data.schema import check_roles, parse_schema, schema_content, without

CONTENT = {
  "numeric": ["age"],
  "log_numeric": ["amount"],
  "categorical": ["job", "phone"],
  "target": "risk == 2",
  "private": {"old": "age > 30", "job": "job", "amount": "log(amount)"},
  "labelled": "known == 1",
  "drop": ["id"],
}
CSV = """id,age,amount,job,phone,risk,known
1,20,-99,a,yes,1,1
2,40,0,b,no,2,0
3,30,99,a,no,1,0
4,50,9999,c,yes,2,1
"""


@pytest.fixture
def written(tmp_path):
  def write(text=CSV, name="rows.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name

  return write


def _fitted(path, rows=None, **changes):
  table = tables.read_table(path)
  return tabular.fit(parse_schema({**CONTENT, **changes}), table, rows), table


def test_features_are_the_closed_form(written):
  encoding, table = _fitted(written())
  assert encoding.names == ("age", "amount", "job=a", "job=b", "job=c", "phone=yes")
  x = tabular.encode(encoding, table)
  age = np.array([20.0, 40, 30, 50])
  log = np.array([-np.log(100), 0, np.log(100), np.log(10_000)])
  assert x.dtype == np.float32
  np.testing.assert_allclose(x[:, 0], (age - 35) / age.std(), rtol=1e-6)
  np.testing.assert_allclose(x[:, 1], (log - log.mean()) / log.std(), rtol=1e-5)
  np.testing.assert_array_equal(x[:, 2:], [[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]])


def test_the_traced_features_are_those_of_numpy(written):
  encoding, table = _fitted(written())
  raw = tabular.raw_inputs(encoding, table)
  traced = tabular.features(encoding, jnp.asarray(raw["numbers"]), jnp.asarray(raw["codes"]), xp=jnp)
  np.testing.assert_allclose(traced, tabular.encode(encoding, table), atol=1e-6)


def test_labels_of_every_role(written):
  encoding, table = _fitted(written())
  values = {label.name: tabular.label_values(encoding, table, label.name) for label in encoding.schema.labels}
  np.testing.assert_array_equal(values["target"], [0, 1, 0, 1])
  np.testing.assert_array_equal(values["old"], [0, 1, 0, 1])
  np.testing.assert_array_equal(values["labelled"], [1, 0, 0, 1])
  np.testing.assert_array_equal(values["job"], [0, 1, 0, 2])
  np.testing.assert_allclose(values["amount"], np.log([0.01, 1, 100, 10_000]), atol=1e-5)


def test_only_training_rows_are_learned_from(written):
  rows = np.array([0, 2])
  encoding, _ = _fitted(written(), rows)
  wild = CSV.replace("4,50,9999,c", "4,5000,-777777,zebra").replace("2,40,0,b", "2,-40,8,q")
  other, _ = _fitted(written(wild, "wild.csv"), rows)
  assert json.dumps(tabular.to_json(encoding)) == json.dumps(tabular.to_json(other))


def test_an_encoding_survives_json_exactly(written):
  encoding, table = _fitted(written())
  again = tabular.from_json(json.loads(json.dumps(tabular.to_json(encoding))))
  np.testing.assert_array_equal(tabular.encode(again, table), tabular.encode(encoding, table))
  assert again.schema == encoding.schema and again.classes == encoding.classes


def test_chunks_are_the_whole_table(written):
  path = written()
  chunks = list(tables.read_chunks(path, rows=3))
  assert [(c.n_rows, c.first) for c in chunks] == [(3, 1), (1, 4)]
  encoding, table = _fitted(path)
  parts = [tabular.encode(encoding, chunk) for chunk in chunks]
  np.testing.assert_array_equal(np.concatenate(parts), tabular.encode(encoding, table))
  assert [c.n_rows for c in tables.read_chunks(written("a,b\n", "empty.csv"))] == [0]


def test_mappings_and_whole_floats_read_as_the_file_does(written):
  encoding, table = _fitted(written())
  columns = {name: x.astype(np.float64) if x.dtype.kind == "i" else x for name, x in table.columns.items()}
  columns["job"] = np.array(["a", "b", "a", "c"], object)
  np.testing.assert_array_equal(
    tabular.encode(encoding, tables.as_table(columns)), tabular.encode(encoding, table)
  )


def test_leading_zeros_stay_text(written):
  assert tables.read_table(written("zip\n007\n8\n")).columns["zip"].tolist() == ["007", "8"]


def test_missing_values_and_unseen_categories_by_the_schemas_rule(written):
  gaps = CSV.replace("2,40,0,b,no", "2,NA,,?,no")
  encoding, table = _fitted(
    written(gaps), missing="fill", unseen="zeros", private={}, target=None, labelled=None
  )
  x = tabular.encode(encoding, table)
  assert encoding.categories["job"] == ("", "a", "c") and encoding.median[0] == 30
  np.testing.assert_allclose(x[1, 0], (30 - encoding.mean[0]) / encoding.std[0], rtol=1e-6)
  assert x[1, list(encoding.names).index("job=")] == 1
  new = tables.as_table({"age": [1], "amount": [2], "job": ["z"], "phone": ["maybe"]})
  with pytest.warns(UserWarning, match="1 of 1 rows have a category"):
    np.testing.assert_array_equal(tabular.encode(encoding, new)[0, 2:], 0)
  assert {"phone=no", "phone=yes"} <= set(encoding.names)  # or an unseen one would read as "no"


def test_merged_categories_count_as_one(written):
  encoding, table = _fitted(written(), merge={"job": {"c": "b"}})
  x = tabular.encode(encoding, table)
  assert encoding.names[2:4] == ("job=b", "phone=yes")
  np.testing.assert_array_equal(x[:, 2], [0, 1, 0, 1])


def test_without_drops_inputs_and_keeps_labels():
  schema = parse_schema(CONTENT)
  fewer = without(schema, ["age", "job"])
  assert fewer.inputs == ("amount", "phone") and {"age", "job"} <= set(fewer.drop)
  assert fewer.labels == schema.labels
  assert parse_schema(schema_content(schema)) == schema


@pytest.mark.parametrize(
  "change,message",
  [
    ({"numerics": ["age"]}, "unknown key 'numerics' .nearest: 'numeric'"),
    ({"categorical": ["age"]}, "'age' under 'numeric' and 'categorical'"),
    ({"numeric": [], "log_numeric": [], "categorical": []}, "no inputs"),
    ({"numeric": "age"}, "give a list"),
    ({"target": "age > old"}, "no number"),
    ({"missing": "ignore"}, "choose one of error, fill"),
    ({"merge": {"age": {"1": "2"}}}, "not under 'categorical'"),
    ({"private": {"target": "age > 3"}}, "another name"),
  ],
)
def test_schemas_that_cannot_be(change, message):
  with pytest.raises(ValueError, match=message):
    parse_schema({**CONTENT, **change})


@pytest.mark.parametrize(
  "old,new,message",
  [
    ("id,age", "id,Age", "no column 'age' .nearest: 'Age'"),
    ("id,age", "age,age", "'age' twice"),
    ("2,40,0,b,no,2,0", "2,40,0,b,no,2", "row 2 has 6 cells, the header 7"),
    ("2,40,0", "2,forty,0", "row 2: column 'age' has 'forty'"),
    ("2,40,0", "2,inf,0", "row 2: column 'age' is infinite"),
    ("2,40,0", "2,,0", "row 2: column 'age' has no value .1 such rows."),
    ("2,40,0,b", "2,40,0,NA", "row 2: column 'job' has no value"),
    ("id,age,amount,job,phone,risk,known", "id;age;amount", "separated by ';'"),
    (CSV, "", "no header"),
    (CSV, CSV.splitlines()[0] + "\n", "no training rows"),
  ],
)
def test_files_that_cannot_be(written, old, new, message):
  with pytest.raises(ValueError, match=message):
    _fitted(written(CSV.replace(old, new)))


def test_faults_at_encoding_and_of_labels(written):
  encoding, table = _fitted(written())
  with pytest.raises(ValueError, match="row 4: column 'job' has the category 'cc', .* .nearest: 'c'"):
    tabular.encode(encoding, tables.read_table(written(CSV.replace("9999,c", "9999,cc"), "new.csv")))
  with pytest.raises(ValueError, match="no column 'age'.*, 'amount'"):
    tabular.encode(encoding, tables.as_table({"job": ["a"], "phone": ["no"]}))
  with pytest.raises(ValueError, match="no label 'odl' .nearest: 'old'"):
    tabular.label_values(encoding, table, "odl")
  with pytest.raises(ValueError, match="without a role: known"):
    check_roles(parse_schema({**CONTENT, "labelled": None}), table)
  with pytest.raises(ValueError, match="120 classes: write 'age > NUMBER'"):
    rows = tables.as_table({"age": np.arange(120.0)})
    tabular.fit(parse_schema({"numeric": ["age"], "private": ["age"]}), rows)
  with pytest.raises(ValueError, match="not a text in UTF-8"):
    path = written("x")
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    tables.read_table(path)
  with pytest.raises(FileNotFoundError):
    tables.read_table("nowhere.csv")


def test_data_frames_read_as_mappings_do(written):
  pandas = pytest.importorskip("pandas")
  encoding, table = _fitted(written())
  frame = tables.as_table(pandas.read_csv(written()))
  np.testing.assert_array_equal(tabular.encode(encoding, frame), tabular.encode(encoding, table))


@pytest.mark.parametrize(
  "text,expected",
  [
    ("5", "5"),
    ("5.0", "5"),
    ("+5.00", "5"),
    ("-0.0", "0"),
    ("-0.50", "-0.5"),
    (".5", "0.5"),
    ("1e3", "1000"),
    ("2.5e-3", "0.0025"),
    ("1e999999999", "1e999999999"),
    ("007", "007"),
    ("12345678901234567890123456789012345", "12345678901234567890123456789012345"),
    ("A5.0", "A5.0"),
    (".", "."),
    ("", ""),
  ],
)
def test_a_number_has_one_spelling(text, expected):
  assert tables.canonical(text) == expected


def _coded(values):
  """A table of 300 rows whose category is written as `values`, and something to predict."""
  n = len(values)
  return tables.as_table({"code": values, "x": np.arange(n), "bad": np.arange(n) % 2})


CODED = {"numeric": ["x"], "categorical": ["code"], "target": "bad", "unseen": "zeros"}


def test_a_category_is_the_same_however_its_number_is_written():
  codes = np.arange(300) % 3 + 4
  encoding = tabular.fit(parse_schema(CODED), _coded(codes))
  expected = tabular.encode(encoding, _coded(codes))
  assert expected[:, 1:].sum() == 300
  for values in (
    codes.astype(float),
    [f"{c}.0" for c in codes],
    [str(c) for c in codes],
    codes.astype(object),
  ):
    np.testing.assert_array_equal(tabular.encode(encoding, _coded(values)), expected)
  merged = parse_schema({**CODED, "merge": {"code": {"4.0": "5"}}, "target": "code == 5.0", "drop": ["bad"]})
  assert tabular.fit(merged, _coded(codes)).categories["code"] == ("5", "6")
  assert tabular.label_values(tabular.fit(merged, _coded(codes)), _coded(codes), "target").sum() == 100


def test_spellings_that_meet_in_one_column_are_told():
  with pytest.warns(UserWarning, match="'code' spells 250.1 in 2 ways .250.1, 250.10.*put a letter"):
    tabular.fit(parse_schema(CODED), _coded(["250.1", "250.10", "3"] * 10))


def test_many_unseen_categories_are_refused_unless_asked_for():
  encoding = tabular.fit(parse_schema(CODED), _coded(["a", "b", "c"] * 100))
  new = ["a"] * 95 + ["z"] * 5
  with pytest.warns(UserWarning, match="5 of 100 rows have a category in column 'code'.*'z' in row 96"):
    tabular.encode(encoding, _coded(new))
  with pytest.raises(ValueError, match="6 of 100 rows .* set the schema's unseen to 'any'"):
    tabular.encode(encoding, _coded([*new[1:], "z"]))
  with pytest.raises(ValueError, match="19 of 19 rows have a category"):
    tabular.encode(encoding, _coded(["z"] * 19))
  with pytest.warns(UserWarning, match="18 of 19 rows"):
    tabular.encode(encoding, _coded(["a"] + ["z"] * 18))
  asked = encoding._replace(schema=encoding.schema._replace(unseen="any"))
  np.testing.assert_array_equal(tabular.encode(asked, _coded(["z"] * 100))[:, 1:], 0)


@pytest.mark.parametrize("text", ["None", "n/a", "<NA>", "#N/A", "nan", "NULL", ""])
def test_what_counts_as_missing(written, text):
  with pytest.raises(ValueError, match="row 2: column 'job' has no value"):
    _fitted(written(CSV.replace("2,40,0,b", f"2,40,0,{text}")))
  with pytest.raises(ValueError, match="row 2: column 'age' has no value"):
    _fitted(written(CSV.replace("2,40", f"2,{text}")))


def test_a_missing_value_that_is_written_is_quoted(written):
  with pytest.raises(ValueError, match="has no value .'None' counts as missing"):
    _fitted(written(CSV.replace("2,40,0,b", "2,40,0,None")))


def test_a_column_that_float32_would_flatten_is_refused():
  times = 1_600_000_000 + 20 * (np.arange(300) % 3)
  schema = parse_schema({"numeric": ["x"], "target": "bad"})
  table = tables.as_table({"x": times, "bad": np.arange(300) % 2})
  with pytest.raises(
    ValueError, match="'x' varies by 16.3 around 1.6e.09, which float32 rounds away: subtract"
  ):
    tabular.fit(schema, table)
  tabular.fit(schema, tables.as_table({"x": times - times.min(), "bad": np.arange(300) % 2}))


@pytest.mark.parametrize(
  "values,message",
  [
    ([*(1e7 + 0.1 * np.arange(300)), -1e9], "around 1e.07"),
    ([*(1e7 + 0.1 * np.arange(30)), -1e30], "around 1e.07"),
    ([1e7, 1e7 + 0.1, -1e9], "varies by 0.1 around 1e.07"),
    ([*[1e7] * 300, 1e7 + 0.1, 1e12], "varies by 0.1 around 1e.07"),
    ([2**60, 2**60 + 1], "1152921504606846976 and 1152921504606846977, which are one number in float64"),
  ],
)
def test_no_outlier_hides_what_float32_rounds_away(values, message):
  schema = parse_schema({"numeric": ["x"]})
  with pytest.raises(ValueError, match=message):
    tabular.fit(schema, tables.as_table({"x": values}))


@pytest.mark.parametrize(
  "values",
  [
    np.random.default_rng(0).normal(size=5000),
    np.random.default_rng(0).standard_t(1, 5000),
    [*np.exp(np.random.default_rng(0).normal(size=500) * 3), 1e12],
    [0.3, 0.1 + 0.2, 5.0] * 10,
    [0.1 * i for i in range(3000)],
    [*[0] * 300, 1, -(10**9)],
    [1e9] * 30,
  ],
)
def test_ordinary_columns_pass(values):
  tabular.fit(parse_schema({"numeric": ["x"]}), tables.as_table({"x": values}))


def test_numbers_too_large_for_float32_are_refused(written):
  encoding, _ = _fitted(written())
  for old, new, column in (
    ("3,30", "3,1e39", "age"),
    ("3,30", "3,-3e38", "age"),
    (",99,", ",1e39,", "amount"),
  ):
    narrow = encoding._replace(std=encoding.std * 0 + 0.5)
    with pytest.raises(ValueError, match=f"row 3: column '{column}' is .*e.3[89], too large for float32"):
      tabular.encode(narrow, tables.read_table(written(CSV.replace(old, new), "new.csv")))
  with pytest.raises(ValueError, match="row 3: column 'age' is 1e.39"):
    _fitted(written(CSV.replace("3,30", "3,1e39")), np.array([0, 2]))
  _fitted(written(CSV.replace("3,30", "3,1e39")), np.array([0, 1]))  # of training rows only


class NAType:
  """As the NA of pandas: comparing it gives no truth value."""

  def __eq__(self, other):
    return self

  __ne__ = __eq__

  def __bool__(self):
    raise TypeError("boolean value of NA is ambiguous")

  __hash__ = object.__hash__


def test_columns_as_pandas_gives_them():
  missing = NAType()
  table = tables.as_table(
    {
      "flag": np.array([True, missing, False], object),
      "name": np.array(["a", missing, "b"], object),
      "count": np.array([1, missing, 3], object),
      "number": np.array([1.5, np.float64("nan"), None], object),
      "truth": np.array([True, False, True]),
    }
  )
  assert tables.text_of(table, "flag", missing="fill").tolist() == ["True", "", "False"]
  assert tables.text_of(table, "name", missing="fill").tolist() == ["a", "", "b"]
  np.testing.assert_array_equal(tables.number_of(table, "count", missing="fill"), [1, np.nan, 3])
  np.testing.assert_array_equal(tables.number_of(table, "flag", missing="fill"), [1, np.nan, 0])
  np.testing.assert_array_equal(tables.number_of(table, "number", missing="fill"), [1.5, np.nan, np.nan])
  np.testing.assert_array_equal(tables.number_of(table, "truth", missing="error"), [1, 0, 1])
  with pytest.raises(ValueError, match="row 2: column 'name' has no value"):
    tables.text_of(table, "name", missing="error")


def test_extension_types_of_pandas(written):
  pandas = pytest.importorskip("pandas")
  frame = pandas.DataFrame(
    {
      "name": pandas.array(["a", None, "b"], dtype="string"),
      "flag": pandas.array([True, None, False], dtype="boolean"),
      "count": pandas.array([1, None, 3], dtype="Int64"),
      "when": pandas.to_datetime(["2020-01-01", None, "2021-01-01"]),
      "kind": pandas.Categorical(["x", None, "y"]),
    }
  )
  table = tables.as_table(frame)
  for name in frame.columns:
    assert (tables.text_of(table, name, missing="fill") == "").tolist() == [False, True, False], name
  np.testing.assert_array_equal(tables.number_of(table, "count", missing="fill"), [1, np.nan, 3])


def test_a_name_that_is_there_twice_loses_no_column():
  pd = pytest.importorskip("pandas")

  for columns in (["a", "a"], [1, "1"]):
    with pytest.raises(ValueError, match="has the column '.' twice"):
      tables.as_table(pd.DataFrame([[0, 1]], columns=columns))
