"""All that was gathered of a holdout becomes one Evaluation: every model judged on the rows that none of them learned from."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tidemill.answer import answers
from tidemill.dataset import describe
from tidemill.errors import DatasetRefused
from tidemill.evaluate.calibration import calibration, confusion
from tidemill.evaluate.compare import Judge, check_labels, label_facts
from tidemill.evaluate.fairness import judge_fairness
from tidemill.evaluate.record import Apart, Comparison, Evaluation, Explained, Fairness, GoldenRequest, Importance, Slice
from tidemill.evaluate.resample import plan
from tidemill.evaluate.slices import Holdout as Rows
from tidemill.evaluate.slices import Model, judge_rows, judge_slices
from tidemill.heldout import Mask
from tidemill.model import package
from tidemill.model.baseline import NOTABLE, shifts
from tidemill.model.explain import explain, importance, latency_ms
from tidemill.model.features import features_of
from tidemill.model.study import still_learning
from training.holdout import Contender, Former, Holdout

FEWEST_APART = 50
BACKGROUND = 100
OVERLAP_TOLD = 0.001
SHIFTS_TOLD = 5


class Judging:
    """`judged`: the rows that neither the challenger nor a champion learned from; figures are of these alone."""

    def __init__(self, holdout: Holdout, challenger: Contender, linear: Contender, champion: Former | None, best: Former | None) -> None:
        self._holdout, self._challenger, self._linear, self._champion, self._best = holdout, challenger, linear, champion, best
        self._card = challenger.scorer.card
        self._spec = self._card.spec
        check_labels(holdout.labels, self._spec.task)
        self._judged = self._unlearned()
        self._labels = holdout.labels[self._judged]
        days = None if holdout.days is None else holdout.days[self._judged]
        self._rows = Rows(self._labels, days, self._spec.task)
        self._plan = plan(self._labels, self._spec.task, days)
        self._judge = Judge(self._labels, self._spec.task, self._plan, self._spec.gate.confidence)
        self._mine = Model(self._aligned(challenger.scores, self._card.classes)[self._judged], self._card.threshold)
        self._estimates = self._judge.estimates(*self._mine)
        if self._spec.primary not in self._estimates.values:
            raise DatasetRefused(f"the primary metric {self._spec.primary} is undefined on the {len(self._labels):,} rows held out")
        self._shift = shifts(holdout.baseline.profile, holdout.profile)

    def _unlearned(self) -> Mask:
        """A champion that learned from so much of the holdout that the rest can judge nobody is not compared."""
        judged = np.ones(self._holdout.rows, bool)
        for former in (self._champion, self._best):
            if former is None:
                continue
            former.settle(self._holdout.rows)
            rest = judged & ~former.rows("learned")
            if former.fault is None and not self._can_judge(rest):
                former.fault = f"it learned from {int((~rest).sum()):,} of the {len(rest):,} rows held out, and the rest cannot judge it"
            judged = rest if former.fault is None else judged
        return judged

    def _can_judge(self, rows: Mask) -> bool:
        """Enough of them, with more than one class or value; all there are may always judge."""
        try:
            check_labels(self._holdout.labels[rows], self._spec.task)
        except DatasetRefused:
            return False
        return bool(rows.all() or rows.sum() >= FEWEST_APART)

    def evaluation(self, folder: Path, archive: Path) -> Evaluation:
        """`folder`: the challenger's, unpacked; `archive`: the model.tar.gz it came in."""
        card, spec, holdout = self._card, self._spec, self._holdout
        told, explained, untold = self._explained()
        return Evaluation(
            model=spec.name,
            run=card.run,
            task=spec.task,
            primary=spec.primary,
            dataset=holdout.dataset.id,
            rows=len(self._labels),
            labels=label_facts(self._labels, spec.task, holdout.classes),
            period=describe(holdout.dataset, "test"),
            confidence=spec.gate.confidence,
            resampled=self._plan.resampled,
            challenger=self._judge.scores(self._estimates),
            baseline=self._judge.scores(self._judge.estimates(self._aligned(self._linear.scores, card.classes)[self._judged], card.threshold)),
            champion=self._compared(self._champion),
            best=self._compared(self._best),
            slices=self._slices(),
            apart=tuple(self._apart()),
            left_out=holdout.rows - len(self._labels),
            holdout=holdout.dataset.holdout,
            threshold=card.threshold if spec.task == "binary" else None,
            calibration=calibration(self._labels, self._mine.scores, spec.task),
            confusion=confusion(self._labels, self._mine.scores, spec.task, card.threshold, holdout.classes),
            fairness=self._fairness(),
            importance=told,
            explained=explained,
            shift=self._shift,
            learning=card.learning,
            more_data_helps=still_learning(card.learning, spec.primary),
            size_bytes=archive.stat().st_size,
            latency_ms=latency_ms(self._challenger.scorer, holdout.sample[0]),
            model_sha256=hashlib.sha256((folder / package.PIPELINE).read_bytes()).hexdigest(),
            versions=card.versions,
            settings=card.settings,
            set_beside=tuple(former.name for former in (self._champion, self._best) if former is not None),
            unreadable=self._champion.fault if self._champion is not None else None,
            warnings=(*card.warnings, *self._plan.warnings, *untold, *self._warnings()),
            golden=self._golden(),
        )

    def _model(self, former: Former) -> Model:
        other = former.card or self._card
        return Model(self._aligned(former.scores, other.classes)[self._judged], other.threshold)

    def _aligned(self, scores: NDArray[np.float64], classes: tuple[str, ...]) -> NDArray[np.float64]:
        """Probabilities under the classes that some model knows; of one that this model does not know, 0."""
        if scores.ndim == 1 or classes == self._holdout.classes:
            return scores
        at = {name: column for column, name in enumerate(classes)}
        return np.column_stack([scores[:, at[name]] if name in at else np.zeros(len(scores)) for name in self._holdout.classes])

    def _compared(self, former: Former | None) -> Comparison | None:
        if former is None or former.fault is not None:
            return None
        theirs, primary = self._judge.estimates(*self._model(former)), self._spec.primary
        if primary not in theirs.values:
            former.fault = f"the primary metric {primary} is undefined on these {len(self._labels):,} rows"
            return None
        return self._judge.compare(self._estimates, theirs, former.name, primary)

    @property
    def _theirs(self) -> Model | None:
        return None if self._champion is None or self._champion.fault is not None else self._model(self._champion)

    def _slices(self) -> tuple[Slice, ...]:
        gate = self._spec.gate
        columns = {name: values[self._judged] for name, values in self._holdout.slices.items()}
        return judge_slices(
            columns, self._rows, self._mine, self._theirs, self._spec.primary, gate.confidence, gate.slice_min_rows, gate.slice_drop_max
        )

    def _apart(self) -> Iterator[Apart]:
        """Parts of the holdout that tell something of their own, unless they are all of it."""
        masks: list[tuple[Literal["established", "newer", "newest"], Mask]] = [("newest", self._holdout.newest)]
        if self._champion is not None:
            masks += [("established", self._champion.rows("established")), ("newer", self._champion.rows("newer"))]
        for name, mask in masks:
            rows = mask[self._judged]
            if not FEWEST_APART <= rows.sum() < len(rows):
                continue
            found = judge_rows(rows, self._rows, self._mine, self._theirs, self._spec.primary, self._spec.gate.confidence, 0.0)
            if found is not None:
                own, beside, _ = found
                champion = None if beside is None else beside.scores[self._spec.primary]
                yield Apart(name=name, rows=int(rows.sum()), challenger=own, champion=champion, gain=None if beside is None else beside.gain)

    def _fairness(self) -> tuple[Fairness, ...]:
        gate = self._spec.gate
        columns = {name: values[self._judged] for name, values in self._holdout.sensitive.items()}
        return judge_fairness(columns, self._labels, self._mine, self._spec.task, self._plan, gate.confidence, gate.slice_min_rows)

    def _explained(self) -> tuple[tuple[Importance, ...], tuple[Explained, ...], tuple[str, ...]]:
        """Importance, reasons of the golden rows, and why there are none: a model that cannot stand mixed rows is still a model."""
        scorer, (sample, labels) = self._challenger.scorer, self._holdout.sample
        try:
            told = importance(scorer, sample, labels)
            return told, explain(scorer, features_of(self._holdout.golden, self._spec), sample.iloc[:: -(-len(sample) // BACKGROUND)]), ()
        except Exception as error:  # of the author's estimator, asked about rows that never were
            return (), (), (f"no explanations: the estimator failed on rows mixed of others: {type(error).__name__}",)

    def _golden(self) -> tuple[GoldenRequest, ...]:
        said = answers(self._challenger.scores[self._holdout.golden_at].tolist(), self._spec.task, self._card.threshold, self._card.classes)
        return tuple(GoldenRequest(instance=row, answer=answer) for row, answer in zip(self._holdout.golden.to_dicts(), said, strict=True))

    def _warnings(self) -> Iterator[str]:
        spec, holdout = self._spec, self._holdout
        if left_out := holdout.rows - len(self._labels):
            yield f"{left_out:,} of {holdout.rows:,} rows are left out: a champion learned from them, so that they judge nobody"
        if self._best is not None and self._best.fault is not None:
            yield f"the best champion there was, {self._best.name}, is not compared: {self._best.fault}"
        if (overlap := holdout.overlap) > OVERLAP_TOLD:
            yield f"about {overlap:.1%} of the held-out rows have a key that was learned from: figures on them flatter"
        if spec.time is not None and spec.data.split.by == "key":
            yield "rows have a time but are split by key: the holdout lies among the days learned from, and figures may flatter"
        shifted = [f"{each.column} ({each.psi:.2f})" for each in self._shift if each.psi >= NOTABLE]
        if shifted:
            more = f" and {len(shifted) - SHIFTS_TOLD} more" if len(shifted) > SHIFTS_TOLD else ""
            yield f"distributed otherwise in the holdout than in the rows learned from (PSI): {', '.join(shifted[:SHIFTS_TOLD])}{more}"
        for name, column in spec.columns.items():
            if column.sensitive and column.role in ("feature", "ignore") and not column.names_groups:
                yield f"fairness over {name} is not judged: that needs a category whose values are listed in allowed, or a boolean"
