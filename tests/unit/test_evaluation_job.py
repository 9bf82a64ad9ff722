"""The evaluation job as a whole: which rows judge whom, champions and the best of them, groups, explanations."""

import json
import shutil
import tarfile

import numpy as np
import pytest

from tests.opt_ml import Tree
from tests.unit.test_training import rows_of, spec_of
from tidemill.evaluate.record import Evaluation
from tidemill.gate import decide
from tidemill.steps.register import keeps_to


def trained(tree, name: str, days: int, per_day: int = 40) -> Tree:
    made = tree(spec_of("binary"), rows_of("binary", days=days, per_day=per_day), root=name)
    made.train()
    return made


def test_rows_that_the_champion_learned_from_are_left_out_of_every_figure(tree):
    champion = trained(tree, "champion", 11, per_day=60)  # learns from days 1 to 7, chooses by 8 and 9
    challenger = trained(tree, "challenger", 10, per_day=60)  # is judged by days 9 and 10
    challenger.keep("champion", champion.root / "model", champion.dataset)
    found = challenger.evaluate("ships/1")
    assert (found.rows, found.left_out) == (60, 60)
    assert sum(found.labels.values()) == 60
    assert any("60 of 120 rows are left out" in warning for warning in found.warnings)
    assert found.champion is not None


def test_a_champion_that_learned_from_the_whole_holdout_is_not_compared_and_the_model_is_held(tree):
    champion = trained(tree, "champion", 20)
    challenger = trained(tree, "challenger", 10)
    challenger.keep("champion", champion.root / "model", champion.dataset)
    found = challenger.evaluate("ships/1")
    assert (found.rows, found.left_out, found.champion) == (80, 0, None)
    assert found.unreadable == "it learned from 80 of the 80 rows held out, and the rest cannot judge it"
    decision = decide(found, challenger.spec.gate)
    assert (decision.outcome, "it learned from 80 of the 80 rows" in decision.reasons[0]) == ("hold", True)


def test_the_best_champion_there_was_is_set_beside_the_challenger_too(tree):
    best, champion, challenger = (trained(tree, name, days) for name, days in (("best", 10), ("champion", 12), ("challenger", 20)))
    challenger.keep("champion", champion.root / "model", champion.dataset)
    challenger.keep("best", best.root / "model", best.dataset)
    found = challenger.evaluate("ships/2", "ships/1")
    assert (found.champion.champion, found.best.champion) == ("ships/2", "ships/1")
    sign = found.challenger["roc_auc"].value - found.best.scores["roc_auc"].value
    assert found.best.gain.value == pytest.approx(sign)
    newer = {each.name: each for each in found.apart}
    assert "newer" not in newer  # the whole holdout came after the champion's data: no part of its own


def test_a_best_champion_that_cannot_read_the_rows_is_told_and_stops_nothing(tree):
    old = tree(spec_of("binary").replace("size =", "length ="), rows_of("binary").replace("size,kind", "length,kind"), root="old")
    old.train()
    new = trained(tree, "new", 20)
    new.keep("champion")
    new.keep("best", old.root / "model", old.dataset)
    found = new.evaluate("ships/2", "ships/1")
    assert (found.best, found.unreadable) == (None, None)
    assert any("the best champion there was, ships/1, is not compared" in warning for warning in found.warnings)


def test_the_newest_part_is_judged_apart(tree):
    first = rows_of("binary", days=20, per_day=30)
    second = rows_of("binary", days=20, per_day=30, seed=5).replace("\ns", "\nt")
    made = tree(spec_of("binary", split="key"), first, second)
    made.train()
    made.keep("champion", dataset=made.dataset.model_copy(update={"parts": made.dataset.parts[:1]}))
    apart = {each.name: each for each in made.evaluate("ships/1").apart}
    assert apart.keys() == {"newest", "established", "newer"}
    assert apart["newest"].rows == apart["newer"].rows == {p: f.rows for p, f in made.dataset.files("test")}[made.dataset.parts[1].id]
    assert apart["newest"].gain.value == 0  # it is set beside itself


GROUPED = 'sex = { role = "ignore", type = "category", sensitive = true, allowed = ["f", "m"] }\n[gate]\nfairness = { demographic_parity_max = 0.05 }'


def test_a_model_that_serves_groups_unequally_is_seen_though_it_never_saw_the_column(tree):
    rng = np.random.default_rng(0)
    lines = rows_of("binary").splitlines()
    sizes = [float(line.split(",")[3]) for line in lines[1:]]
    sexes = [("f" if size + rng.normal(0, 0.4) > 0 else "m") for size in sizes]  # the column a proxy of which is learned from
    text = "\n".join([f"{lines[0]},sex", *(f"{line},{sex}" for line, sex in zip(lines[1:], sexes, strict=True))]) + "\n"
    made = tree(spec_of("binary", GROUPED + "\nslice_min_rows = 40"), text)
    made.train()
    found = made.evaluate()
    (fairness,) = found.fairness
    assert fairness.column == "sex"
    assert abs(next(g for g in fairness.groups if g.gaps).gaps["selection_rate"].value) > 0.3
    decision = decide(found, made.spec.gate)
    assert (decision.outcome, "selection rate differs where sex = " in decision.reasons[0]) == ("reject", True)


def test_values_that_the_spec_does_not_name_are_no_groups(tree):
    text = (
        "\n".join(f"{line},{'sex' if at == 0 else 'fm'[at % 2] if at % 3 else 'SECRET'}" for at, line in enumerate(rows_of("binary").splitlines()))
        + "\n"
    )
    made = tree(spec_of("binary", GROUPED.partition("[gate]")[0] + "[gate]\nslice_min_rows = 20"), text)
    made.train()
    found = made.evaluate()
    assert {group.value for group in found.fairness[0].groups} == {"f", "m", "(other)"}
    assert "SECRET" not in found.model_dump_json()


def test_a_sensitive_number_is_not_judged_and_that_is_told(tree):
    made = tree(spec_of("binary").replace("extra = { type", "extra = { sensitive = true, type"), rows_of("binary"))
    made.train()
    found = made.evaluate()
    assert found.fairness == ()
    assert "fairness over extra is not judged: that needs a category whose values are listed in allowed, or a boolean" in found.warnings


def test_an_evaluation_tells_what_the_model_goes_by_how_large_and_how_fast_it_is(tree):
    made = tree(spec_of("binary"), rows_of("binary", per_day=100))
    card = made.train()
    found = made.evaluate()
    assert [each.feature for each in found.importance] == ["size", "kind", "extra"]
    assert found.importance[0].loss > 0.1
    assert len(found.explained) == len(found.golden)
    for explained, golden in zip(found.explained, found.golden, strict=True):
        assert explained.score == pytest.approx(golden.answer["score"])
        assert sum(each.effect for each in explained.reasons) == pytest.approx(explained.score - explained.base)
    assert (found.learning, found.threshold) == (card.learning, card.threshold)
    assert [each.rows for each in found.learning] == [300, 600, 1200]
    assert {each.column for each in found.shift} == {"size", "kind", "label"}
    assert 10_000 < found.size_bytes < 1_000_000
    assert 0 < found.latency_ms < 1000
    assert sum(sum(row) for row in found.confusion.counts) == found.rows
    assert found.calibration.error < 0.2
    stored = made.root / "processing/output"
    assert Evaluation.model_validate_json((stored / "evaluation.json").read_text()) == found
    assert json.loads((stored / "baseline.json").read_text())["profile"]["columns"].keys() == {"size", "kind", "extra", "label"}


def test_the_same_rows_and_code_give_the_same_model_bit_by_bit(tree):
    hashes = [trained(tree, name, 20).evaluate().model_sha256 for name in ("one", "two")]
    assert hashes[0] == hashes[1] != trained(tree, "three", 19).evaluate().model_sha256


PICKY = """
import numpy as np
class Picky:
    '''Fails on the like of which it never saw.'''
    def fit(self, frame, labels):
        self.classes_ = np.unique(labels)
        return self
    def predict_proba(self, frame):
        if frame["size"].duplicated().mean() > 0.5:
            raise ValueError("rows that never were")
        p = 1 / (1 + np.exp(-frame["size"].to_numpy()))
        return np.column_stack([1 - p, p])
def build(spec):
    return Picky()
"""


def test_an_estimator_that_cannot_stand_mixed_rows_is_judged_without_explanations(tree):
    made = tree(spec_of("binary", '[train]\nestimator = "model.py:build"'), rows_of("binary"), code=PICKY)
    made.train()
    found = made.evaluate()
    assert (found.importance, found.explained) == ((), ())
    assert any(warning.startswith("no explanations: the estimator failed on rows mixed of others: ValueError") for warning in found.warnings)


def test_a_split_by_key_of_rows_with_a_time_is_told(tree):
    made = tree(spec_of("binary", split="key"), rows_of("binary"))
    made.train()
    assert any("split by key" in warning for warning in made.evaluate().warnings)


def test_a_champion_of_another_image_is_judged_by_what_it_said_there(tree):
    old, new = trained(tree, "old", 12), trained(tree, "new", 20)
    new.keep("champion", old.root / "model", old.dataset)
    here = new.evaluate("ships/1")
    again = trained(tree, "again", 20)
    again.score("champion", old.root / "model", old.dataset)
    assert not (again.root / "processing/input/champion").exists()
    there = again.evaluate("ships/1")
    assert there.champion == here.champion
    assert there.apart == here.apart


def test_what_went_wrong_in_the_other_image_is_the_reason_that_nothing_is_compared(tree):
    old = tree(spec_of("binary").replace("size =", "length ="), rows_of("binary").replace("size,kind", "length,kind"), root="old")
    old.train()
    new = trained(tree, "new", 20)
    new.score("champion", old.root / "model", old.dataset)
    found = new.evaluate("ships/1")
    assert found.champion is None
    assert "length" in found.unreadable


def test_a_champion_whose_model_cannot_be_read_is_told(tree):
    new = trained(tree, "new", 20)
    new.keep("champion")
    archive = new.root / "processing/input/champion"
    with tarfile.open(archive / "model.tar.gz") as packed:
        packed.extractall(archive / "broken", filter="data")
    (archive / "broken/pipeline.joblib").write_bytes(b"of another version")
    new.keep("champion", archive / "broken")
    assert new.evaluate("ships/1").unreadable.startswith("its model cannot be read: ")


def test_too_few_rows_that_nobody_learned_from_judge_no_champion(tree):
    champion, challenger = trained(tree, "champion", 11), trained(tree, "challenger", 10)
    challenger.keep("champion", champion.root / "model", champion.dataset)
    found = challenger.evaluate("ships/1")
    assert (found.champion, found.left_out) == (None, 0)
    assert found.unreadable == "it learned from 40 of the 80 rows held out, and the rest cannot judge it"


def test_a_challenger_that_forgot_a_class_is_worse_than_a_champion_that_knows_it(tree):
    rows = rows_of("multiclass")
    old = tree(spec_of("multiclass"), rows, root="old")
    old.train()
    forgot = "\n".join(line for line in rows.splitlines() if ",c," not in line or line.split(",")[1] > "2024-05-17") + "\n"
    learner = tree(spec_of("multiclass"), forgot, root="learner")
    assert learner.train().classes == ("a", "b")
    new = tree(spec_of("multiclass"), rows, root="new")
    new.keep("champion", old.root / "model", old.dataset)
    shutil.copytree(learner.root / "model", new.root / "model")
    found = new.evaluate("ships/1")
    assert found.champion.gain.high < 0
    assert found.labels.keys() == {"a", "b", "c"}
    assert found.confusion.classes == ("a", "b", "c")


def test_a_best_champion_that_could_not_be_compared_is_not_forgotten(tree):
    old = tree(spec_of("binary").replace("size =", "length ="), rows_of("binary").replace("size,kind", "length,kind"), root="old")
    old.train()
    new = trained(tree, "new", 20)
    new.keep("champion")
    new.keep("best", old.root / "model", old.dataset)
    found = new.evaluate("ships/2", "ships/1")
    assert (found.best, found.champion_name, found.best_name, keeps_to(found)) == (None, "ships/2", "ships/1", "ships/1")


def test_no_reason_quotes_a_row(tree):
    """A column that was a number and is a sensitive text now: polars' own message would tell its values."""
    old = trained(tree, "old", 20)
    text = spec_of("binary").replace('extra = { type = "float"', 'extra = { sensitive = true, type = "category"')
    new = tree(text, rows_of("binary", extra="SECRET"), root="new")
    new.train()
    new.keep("champion", old.root / "model", old.dataset)
    found = new.evaluate("ships/1")
    assert found.unreadable == "InvalidOperationError while it scored these rows"
    assert "SECRET" not in found.model_copy(update={"golden": ()}).model_dump_json()


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_holdout_of_two_days_of_which_one_says_nothing_is_judged_by_rows(tree, task):
    rows = [line.split(",") for line in rows_of(task, days=10).splitlines()]
    for fields in rows[1:]:
        if fields[1] > "2024-05-10":
            fields[2] = "1.5" if task == "regression" else "true"
    made = tree(spec_of(task), "\n".join(map(",".join, rows)) + "\n")
    made.train()
    found = made.evaluate()
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
