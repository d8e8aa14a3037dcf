"""Schemas of the two credit tables that ship with the package; imitate one for a table of your own."""

from __future__ import annotations

_MONTHS = range(1, 7)

SCHEMAS = {
  # Yeh & Lien 2009: 30,000 credit card clients, 22.12 % defaults; amounts in NT dollars.
  "credit/taiwan": {
    "numeric": ["AGE", "PAY_0", *(f"PAY_{m}" for m in range(2, 7))],
    "log_numeric": ["LIMIT_BAL", *(f"BILL_AMT{m}" for m in _MONTHS), *(f"PAY_AMT{m}" for m in _MONTHS)],
    "categorical": ["EDUCATION", "MARRIAGE", "SEX"],
    "merge": {"EDUCATION": {"0": "4", "5": "4", "6": "4"}, "MARRIAGE": {"0": "3"}},
    "target": "default_next_month == 1",
    "private": {
      "limit_high": "LIMIT_BAL > 140000",  # stands in for income
      "edu": "EDUCATION == 1",
      "age": "AGE > 34",
      "married": "MARRIAGE == 1",
      "sex": "SEX == 2",
      "limit": "log(LIMIT_BAL)",  # the value itself: hiding a threshold need not hide it
    },
  },
  # Statlog: 1,000 loans, 30 % bad. personal_status_sex is known to be miscoded here: illustrative only.
  "credit/german": {
    "numeric": [
      "duration_months",
      "installment_rate_pct",
      "residence_since",
      "age",
      "existing_credits",
      "people_liable",
    ],
    "log_numeric": ["credit_amount"],
    "categorical": [
      "checking_status",
      "credit_history",
      "purpose",
      "savings_status",
      "employment_since",
      "personal_status_sex",
      "other_debtors",
      "property",
      "other_installment_plans",
      "housing",
      "job",
      "telephone",
      "foreign_worker",
    ],
    "target": "credit_risk == 2",
    "private": {"age": "age > 25", "sex": "personal_status_sex == A92", "foreign": "foreign_worker"},
  },
}
