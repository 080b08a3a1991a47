import csv
import io
from pathlib import Path

import pytest

from arena.contracts import scores as names
from arena.report.columns import columns_of
from arena.report.columns_page import page
from arena.report.files import results_csv
from arena.report.score_meanings import MEANINGS, meaning_of
from tests.payoff.matches import honest, match

ROOT = Path(__file__).parents[2]


def test_a_count_is_a_share_and_the_two_integers_behind_it():
    columns = {column.name: column for column in columns_of([match(fidelity=750)])}
    result = match(fidelity=750)
    assert columns["b/fidelity"].of(result) == 0.75
    assert columns["b/fidelity:hits"].of(result) == 750
    assert columns["b/fidelity:total"].of(result) == 1_000
    assert [columns[name].kind for name in ("b/fidelity", "b/fidelity:hits")] == ["share", "count"]


def test_a_share_of_no_rows_is_missing_and_not_zero():
    result = match(counts={"utility/refused": (0, 0)})
    columns = {column.name: column for column in columns_of([result])}
    assert columns["utility/refused"].of(result) is None
    assert columns["utility/refused:total"].of(result) == 0


def test_every_score_with_a_fixed_name_is_documented():
    assert set(MEANINGS) == names._COUNTS | names._MEASURES


def test_every_column_of_a_result_is_documented():
    counts = {**honest(lost=1, changed=2), "curve/50/a/fidelity": (1, 2), "threat/evasion/0.1/pgd": (3, 4)}
    measures = {"a/tv_test": 0.1, "attack/fact/distance": 0.2, "b/unif_kappa": 0.3}
    columns = columns_of([match(counts=counts, measures=measures)])
    assert all(column.meaning for column in columns)
    assert meaning_of("curve/50/a/fidelity").startswith(
        "test rows on which a track A clone that was trained on the first 50 rows"
    )


@pytest.mark.parametrize("name", ["b/beauty", "nothing", "curve/x/a/fidelity"])
def test_a_name_that_no_score_has_is_an_error(name: str):
    with pytest.raises(ValueError, match="no score is called"):
        meaning_of(name)


def test_the_page_is_the_one_that_is_written():
    assert (ROOT / "docs" / "results.md").read_text() == page()


def test_the_csv_has_these_columns_in_this_order():
    results = [match(measures={"utility/l1": 0.25})]
    assert next(csv.reader(io.StringIO(results_csv(results)))) == [column.name for column in columns_of(results)]
