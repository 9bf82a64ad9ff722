"""The page of a run, two runs side by side, the model card, and the published schema."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.samples import SPEC, evaluation, folder, rows, scores, spec
from tests.world import World
from tidemill.card import LONGEST, model_card
from tidemill.errors import RecordMissing
from tidemill.evaluate.record import (
    Apart,
    Bin,
    Calibration,
    Comparison,
    Confusion,
    Evaluation,
    Explained,
    Fairness,
    Group,
    Importance,
    Interval,
    Learned,
    Reason,
    Shift,
    Slice,
)
from tidemill.records import Run
from tidemill.report.page import Story, page
from tidemill.runs import changes
from tidemill.steps import gate
from tidemill.steps.report import compared

SCHEMA = Path(__file__).parents[2] / "docs/evaluation.schema.json"
EVIL = "<script>alert('x')</script>"


def of(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


def full(**more) -> Evaluation:
    """An evaluation with something in every section; the names in it come from data, which anyone may have written."""
    group = {"rates": {"selection_rate": of(0.4, 0.3, 0.5)}}
    facts = {
        "best": Comparison(champion="boats/2", scores=scores(0.71), gain=of(-0.01, -0.02, 0.01)),
        "slices": (Slice(by={"kind": EVIL}, rows=300, challenger=of(0.7, 0.6, 0.8), champion=of(0.6, 0.5, 0.7), gain=of(0.1, -0.1, 0.2), p=0.9),),
        "apart": (Apart(name="newest", rows=99, challenger=of(0.7, 0.6, 0.8), champion=of(0.6, 0.5, 0.7), gain=of(0.1, 0.05, 0.2)),),
        "calibration": Calibration(bins=(Bin(rows=9, predicted=0.1, actual=0.2), Bin(rows=9, predicted=0.8, actual=0.7)), error=0.1),
        "confusion": Confusion(classes=("false", "true"), counts=((5, 1), (2, 3))), "threshold": 0.3,
        "fairness": (Fairness(column="sex", reference="a", groups=(Group(value="a", rows=60, **group), Group(value=EVIL, rows=50, **group))),),
        "importance": (Importance(feature="crew", loss=0.04, std=0.01), Importance(feature="port", loss=-0.001, std=0.002)),
        "explained": (Explained(base=0.3, score=0.8, reasons=(Reason(feature="kind", value=EVIL, effect=0.4),)),),
        "shift": (Shift(column="crew", psi=0.31, missing=(0.1, 0.2)),),
        "learning": (Learned(rows=500, value=0.6), Learned(rows=1000, value=0.7)), "more_data_helps": True,
        "size_bytes": 182_000, "latency_ms": 9.5, "warnings": (EVIL,),
    }  # fmt: skip
    return evaluation(0.7, 0.68, (0.02, 0.01, 0.03), **facts).model_copy(update=more)


def story(found: Evaluation, outcome: str = "promote", reasons: tuple[str, ...] = ("good",)) -> Story:
    run = Run(
        model="boats",
        epoch=7,
        cause="upload",
        execution="x",
        started_at="2024-06-01T12:00:00Z",
        uploads=("u",),
        spec_hash="5" * 64,
        code_hash="c" * 64,
    )
    return Story(
        run=run, question="Will it sink?", outcome=outcome, reasons=reasons, evaluation=found, uploads=(f"boats/data/{EVIL}.csv",), brought=3,
        covers="2 parts", since=None,
    )  # fmt: skip


class Page(HTMLParser):
    """Tags in order, text, and whether every tag is closed."""

    VOID = frozenset({"meta", "br", "line", "circle", "rect", "polyline"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_decision_and_reasons_come_first_and_every_section_is_there():
    text = Page(page(story(full(), "reject", ("too bad",)))).text
    titles = ["Rejected: the champion stays", "too bad", "Before you trust", "Challenger and champion", "tell something of their own", "Slices",
              "Fairness", "Calibration", "What is taken for what", "What the model goes by", "Learned from, and held out", "more data help",
              "Where it comes from"]  # fmt: skip
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert "and 2 more" in text


@pytest.mark.parametrize("found", [full(), evaluation(0.7), full(champion=None, best=None), full(unreadable="no", champion=None)])
def test_a_page_is_whole_and_needs_nothing_beside_it(found):
    made = Page(page(story(found)))
    assert made.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in made.tags}
    assert not any(name in attributes for _, attributes in made.tags for name in ("src", "href"))
    assert "viewport" in {attributes.get("name") for tag, attributes in made.tags if tag == "meta"}


def test_names_out_of_data_cannot_become_markup():
    made = Page(page(story(full(), reasons=(EVIL,))))
    assert made.text.count(EVIL) >= 5
    assert "script" not in {tag for tag, _ in made.tags}


def judged_twice() -> World:
    world = World()
    world.registered(1)
    world.upload("boats/data/2.csv", "id,day,sank,kind,port,length_m,crew,note\n" + "\n".join(
        f"c{i},2024-06-{i % 9 + 1:02d}T00:00:00,{('true', 'false')[i % 2]},sail,north,10,1," for i in range(60)) + "\n")  # fmt: skip
    world.claim(2)
    world.prepare(2)
    world.assemble(2)
    world.gate(0.8, epoch=2, holdout="h")
    return world


def test_the_gate_leaves_the_page_beside_what_it_decided():
    world = judged_twice()
    made = Page(world.lake.get("boats/runs/0002/report.html").decode())
    assert "Promoted" in made.text
    assert "boats/data/2.csv" in made.text
    assert "Since run 0001" in made.text
    assert "AUC: 0.70 [0.68, 0.72] → 0.80 [0.78, 0.82]" in made.text.replace("  ", " ")


def test_looks_at_the_same_rows_are_counted_over_runs():
    world = judged_twice()
    world.finish(2, "registered")
    world.upload("boats/data/3.csv", "id,day,sank,kind,port,length_m,crew,note\nz,2024-06-02T00:00:00,true,sail,north,10,1,\n")
    world.claim(3)
    world.prepare(3)
    world.assemble(3)
    assert world.gate(0.8, epoch=3, holdout="h")["reasons"][-1].startswith("these held-out rows judged 1 model before")
    assert "judged" not in " ".join(world.gate(0.8, epoch=3, holdout="other")["reasons"])


def test_two_runs_are_told_apart_by_what_was_changed():
    world = judged_twice()
    found = compared("boats", 1, 2, ledger=world.ledger, lake=world.lake)
    assert (found.same_code, found.same_dataset, found.same_rows, found.spec) == (True, False, False, ())
    assert found.before.summary.rows["train"] < found.after.summary.rows["train"]
    with pytest.raises(RecordMissing):
        compared("boats", 1, 9, ledger=world.ledger, lake=world.lake)


def test_a_changed_spec_is_told_key_by_key():
    after = spec(SPEC.replace("margin = 0.002", "margin = 0.01\nmin_rows = 5").replace("max = 400", "max = 500"))
    told = {each.key: (each.before, each.after) for each in changes(spec(), after)}
    assert told == {"columns.length_m.max": ("400.0", "500.0"), "gate.margin": ("0.002", "0.01"), "gate.min_rows": ("1", "5")}
    assert changes(spec(), spec()) == ()


def test_a_run_that_judged_nothing_says_so():
    world = World()
    world.upload("boats/data/1.csv", "id\n")
    world.claim(1)
    with pytest.raises(RecordMissing, match="run 0001 of boats judged no model"):
        compared("boats", 1, 1, ledger=world.ledger, lake=world.lake)


def test_a_model_card_holds_what_the_spec_says_and_what_was_found():
    text = SPEC + '[card]\npurpose = "Warn the harbour"\nlimits = "Not for canoes"\nethics = "Nobody is judged"\n'
    made = model_card(spec(text), full(), "100 rows", {"run": "0007"})
    assert len(made.splitlines()) == 1
    card = json.loads(made)
    assert card["intended_uses"]["purpose_of_model"] == "Warn the harbour"
    assert card["additional_information"] == {
        "ethical_considerations": "Nobody is judged", "caveats_and_recommendations": "Not for canoes", "custom_details": {"run": "0007"},
    }  # fmt: skip
    groups = {group["name"]: group["metric_data"] for group in card["evaluation_details"][0]["metric_groups"]}
    assert groups["challenger"][0] == {"name": "AUC", "type": "number", "value": 0.7, "notes": "0.70 [0.68, 0.72]"}
    assert {"champion boats/6", "best champion there was boats/2", "fairness: sex", "AUC lost without a feature"} <= groups.keys()


def test_a_model_card_is_never_too_long_for_the_registry():
    groups = tuple(Group(value="v" * 200, rows=60, rates={"selection_rate": of(0.4, 0.3, 0.5)}) for _ in range(60))
    many = tuple(Fairness(column=f"c{i}", reference="a", groups=groups) for i in range(40))
    assert len(model_card(spec(), full(fairness=many), "", {})) <= LONGEST


def test_the_schema_of_evaluation_json_is_published():
    assert json.loads(SCHEMA.read_text()) == Evaluation.model_json_schema()


def test_what_the_registry_takes_as_metadata_is_all_that_is_sent():
    world = World()
    owners = SPEC.replace('["harbour@example.com"]', '["Ana (harbour) <ana@example.com>", "b&c@example.com"]')
    world.models.folders = {uri: folder(owners) for uri in world.models.folders}
    world.registered()
    (package,) = world.registry.packages.values()
    assert package["CustomerMetadataProperties"]["owners"] == "Ana  harbour   ana@example.com  b c@example.com"


def test_a_page_that_cannot_be_made_changes_no_decision(monkeypatch):
    monkeypatch.setattr(gate, "write_report", lambda *_, **__: 1 / 0)
    world = World()
    world.upload("boats/data/1.csv", rows(11))
    world.claim(1)
    world.prepare(1)
    world.assemble(1)
    decided = world.gate()
    assert (decided["decision"], decided["report_failed"]) == ("promote", "ZeroDivisionError: division by zero")
