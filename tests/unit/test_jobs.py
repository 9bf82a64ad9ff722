"""What a spec asks of SageMaker's jobs, and training that grows by steps."""

import json
import re
import sys

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from tests.opt_ml import Tree
from tests.samples import SPEC, evaluation, spec
from tests.unit.test_training import rows_of, spec_of
from tidemill import jobs
from tidemill.errors import ModelCodeFailed, SpecError
from tidemill.model import code, package
from tidemill.records import Run
from tidemill.steps import reproduce
from training import paths
from training.progress import Checkpoints

SEARCH = """
[train.search]
max_jobs = 6
[train.search.space]
learning_rate = { min = 0.01, max = 0.3, scale = "log" }
max_leaf_nodes = { min = 4, max = 32, integer = true }
"""


def config(search: str) -> dict:
    found = jobs.tuning(spec(SPEC + search))
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("HyperParameterTuningJobConfig")
    errors = ParamValidator().validate(found, shape)
    assert not errors.has_errors(), errors.generate_report()
    return found


def test_a_search_is_a_tuning_job_as_sagemaker_wants_it():
    found = config(SEARCH)
    assert found["Strategy"] == "Bayesian"
    assert found["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "validation:primary"}
    assert found["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2}
    assert found["TrainingJobEarlyStoppingType"] == "Auto"
    assert found["ParameterRanges"] == {
        "IntegerParameterRanges": [{"Name": "max_leaf_nodes", "MinValue": "4", "MaxValue": "32", "ScalingType": "Linear"}],
        "ContinuousParameterRanges": [{"Name": "learning_rate", "MinValue": "0.01", "MaxValue": "0.3", "ScalingType": "Logarithmic"}],
    }
    assert jobs.tuning(spec()) is None


def test_hyperband_stops_jobs_itself_and_a_loss_is_minimized():
    found = config(SEARCH.replace("max_jobs = 6", 'max_jobs = 6\nstrategy = "hyperband"') + '[train]\nestimator = "default"\n')
    assert (found["Strategy"], found["TrainingJobEarlyStoppingType"]) == ("Hyperband", "Off")
    assert found["StrategyConfig"]["HyperbandStrategyConfig"]["MaxResource"] == jobs.STEPS
    lost = jobs.tuning(spec(SPEC.replace("[gate]", '[gate]\nprimary = "log_loss"') + SEARCH))
    assert lost["HyperParameterTuningJobObjective"]["Type"] == "Minimize"


@pytest.mark.parametrize(("text", "told"), [
    ("[train.search]\nspace = { depth = { min = 1, max = 2 } }", "the default estimator has no such setting"),
    ("[train.search]\nspace = { max_depth = { min = 3, max = 2 } }", "min 3 is not below max 2"),
    ("[train.search]\nspace = { max_depth = { min = 0, max = 2, scale = \"log\" } }", "needs a min above 0"),
    ("[train.search]\nspace = { max_depth = { min = 1.5, max = 2, integer = true } }", "needs whole numbers"),
    ("[train.search]\nspace = { max_depth = { values = [\"a\"] } }", "two different texts at least"),
    ("[train.search]\nspace = { max_depth = { min = 1 } }", "min and max, or values"),
    ("[train.search]\nmax_jobs = 2\nmax_parallel = 3\nspace = { max_depth = { min = 1, max = 2 } }", "max_parallel 3 is above max_jobs 2"),
    ("[train]\nsettings = { max_depth = 3 }\n[train.search]\nspace = { max_depth = { min = 1, max = 2 } }", "it is searched for as well"),
    ("[train]\nspot = true\nkeep_alive_s = 60", "keeps no instance alive"),
    ("[train]\nspot = true\nor_instances = [\"ml.m5.xlarge\"]", "takes no or_instances"),
    ("[train]\nscale = \"distributed\"", "needs 2 or more of them"),
    ("[train]\ninstances = 2", "needs 2 or more of them, and anything else one"),
    ("[train]\nscale = \"distributed\"\ninstances = 2\nestimator = \"linear\"", "only the default estimator can be distributed, not linear"),
    ("[train]\nscale = \"distributed\"\ninstances = 2\nsettings = { max_iter = 5 }", "the distributed estimator has no such setting; known are learning_rate"),
    ("[train]\nestimator = \"linear\"\nsettings = { max_iter = 5 }", "the linear estimator has no such setting; known are C, alpha"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_its_place(text, told):
    with pytest.raises(SpecError, match=re.escape(told)):
        spec(SPEC + text)


TWO = '[train]\nscale = "distributed"\ninstances = 2\n'


def training(more: str) -> dict:
    found = jobs.training(spec(SPEC + more))
    shapes = botocore.session.get_session().get_service_model("sagemaker")
    for name, value in (("ResourceConfig", found["resources"]), ("StoppingCondition", found["stopping"])):
        assert not ParamValidator().validate(value, shapes.shape_for(name)).has_errors()
    return found


def test_spot_warm_pools_and_preferred_instances_are_asked_for_in_sagemakers_words():
    assert training("[train]\nspot = true\nmax_wait_s = 600")["stopping"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 4200}
    assert training("")["stopping"] == {"MaxRuntimeInSeconds": 3600}
    assert training("[train]\nkeep_alive_s = 900")["resources"]["KeepAlivePeriodInSeconds"] == 900
    preferred = training('[train]\nor_instances = ["ml.m5.xlarge"]')["resources"]
    assert [each["InstanceType"] for each in preferred["InstancePreferences"]] == ["ml.m5.large", "ml.m5.xlarge"]
    assert "InstanceType" not in preferred


def test_several_instances_are_asked_for_and_what_they_say_to_each_other_is_encrypted():
    found = training(TWO + "volume_gb = 200")
    assert found["resources"] == {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 200}
    assert (found["encrypt"], found["volume_gb"]) == (True, 200)
    preferred = training(TWO + 'or_instances = ["ml.m5.xlarge"]')["resources"]["InstancePreferences"]
    assert [each["InstanceCount"] for each in preferred] == [2, 2]
    assert training("")["encrypt"] is False


def test_a_cap_on_the_cost_cuts_the_time_that_jobs_have():
    assert training("[train]\nmax_cost_usd = 0.0575")["max_runtime_s"] == 1800  # half an hour at 0.115
    assert training("[train]\nmax_cost_usd = 99")["max_runtime_s"] == 3600
    searched = SEARCH.replace("[train.search]", "[train]\nmax_cost_usd = 0.0575\n[train.search]", 1)
    assert training(searched)["max_runtime_s"] == 300  # six jobs
    assert training(TWO + "max_cost_usd = 0.0575")["max_runtime_s"] == 900  # two instances
    with pytest.raises(SpecError, match=r"0.001 USD pay 15 s for each of 1 job on 2 ml.m5.large"):
        training(TWO + "max_cost_usd = 0.001")
    with pytest.raises(SpecError, match=r"0.001 USD pay 31 s for each of 1 job on ml.m5.large, 60 s are the least"):
        training("[train]\nmax_cost_usd = 0.001")
    with pytest.raises(SpecError, match=r"no price of ml.p5.48xlarge is known"):
        training('[train]\nmax_cost_usd = 5\ninstance = "ml.p5.48xlarge"')


@given(st.from_regex(r"[a-z][a-z0-9]{0,11}", fullmatch=True), st.from_regex(r"[a-z][a-z0-9-]{1,22}[a-z0-9]", fullmatch=True), st.integers(1, 999_999))
def test_a_tuning_jobs_name_fits_and_tells_models_apart(stage, model, epoch):
    name = jobs.tuning_name(stage, model, epoch, "ab12")
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", f"{name}-0")
    assert name.startswith(f"{stage}-")
    assert name != jobs.tuning_name(stage, f"{model}x", epoch, "ab12")


@pytest.mark.parametrize("value", [0.5, 1e-12, -3.25e20, 123456.789])
def test_what_a_job_prints_is_what_sagemaker_reads(value):
    assert float(re.search(jobs.LINE, jobs.objective_line(value))[1]) == pytest.approx(value)
    assert re.search(jobs.LINE, jobs.objective_line(float("nan"))) is None


def with_settings(made: Tree, **asked: str) -> Tree:
    settings = json.loads(paths.HYPERPARAMETERS.read_text())
    paths.HYPERPARAMETERS.write_text(json.dumps(settings | asked))
    return made


def test_a_job_of_a_search_learns_with_the_settings_it_was_given_and_tells_how_far_it_is(tree, capsys):
    asked = {"learning_rate": "0.02", "max_leaf_nodes": "5", "_tuning_objective_metric": "validation:primary"}
    made = with_settings(tree(spec_of("binary", SEARCH), rows_of("binary")), **asked)
    assert made.train().settings == {"learning_rate": 0.02, "max_leaf_nodes": 5}
    told = [float(value) for value in re.findall(jobs.LINE, capsys.readouterr().out)]
    assert len(told) > 3
    fitted = package.load(made.root / "model")._estimator[-1]
    assert (fitted.learning_rate, fitted.max_leaf_nodes) == (0.02, 5)
    assert made.evaluate().challenger["roc_auc"].value > 0.8


def test_settings_of_the_spec_reach_the_estimator(tree):
    made = tree(spec_of("binary", "[train]\nsettings = { max_depth = 2, max_iter = 30 }"), rows_of("binary"))
    made.train()
    fitted = package.load(made.root / "model")._estimator[-1]
    assert (fitted.max_depth, fitted.max_iter) == (2, 30)
    linear = tree(spec_of("binary", '[train]\nestimator = "linear"\nsettings = { C = 0.1 }'), rows_of("binary"), root="linear")
    linear.train()
    assert package.load(linear.root / "model")._estimator[-1].C == 0.1
    own = (
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.pipeline import make_pipeline\nfrom sklearn.impute import SimpleImputer\n"
    )
    own += "def features(frame):\n    return frame[['size']]\ndef build(spec, C=1.0):\n    return make_pipeline(SimpleImputer(), LogisticRegression(C=C))\n"
    authors = tree(spec_of("binary", '[train]\nestimator = "model.py:build"\nsettings = { C = 0.3 }'), rows_of("binary"), root="own", code=own)
    authors.train()
    assert package.load(authors.root / "model")._estimator[-1][-1].C == 0.3


def test_growing_by_steps_gives_as_good_a_model(tree):
    found = []
    for name, more in (("at once", ""), ("by steps", "[train]\nspot = true")):
        made = tree(spec_of("binary", more), rows_of("binary"), root=name)
        made.train()
        found.append(made.evaluate().challenger["roc_auc"].value)
    assert found[0] == pytest.approx(found[1], abs=0.02)


class Taken(Exception):
    """The instance is gone."""


def test_an_interrupted_job_goes_on_where_it_was_and_ends_with_the_same_trees(tree, monkeypatch, capsys):
    text = spec_of("binary", "[train]\nspot = true")
    whole = tree(text, rows_of("binary"), root="whole")
    whole.train()
    expected = whole.evaluate()
    cut = tree(text, rows_of("binary"), root="cut")
    saved = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, grown: (saved(self, grown), (_ for _ in ()).throw(Taken()) if grown.trees == 60 else None))
    with pytest.raises(Taken):
        cut.train()
    monkeypatch.setattr(Checkpoints, "save", saved)
    cut.train()
    assert "goes on from 60 trees" in capsys.readouterr().out
    found = cut.evaluate()
    assert found.challenger == expected.challenger
    assert found.golden == expected.golden


def test_another_jobs_checkpoint_is_none_of_ours_and_half_a_checkpoint_is_none(tmp_path):
    from tidemill.model.boosting import Grown

    mine = Checkpoints(tmp_path, {"run": "0001"})
    mine.save(Grown(model=None, trees=20))
    assert mine.load().trees == 20
    assert Checkpoints(tmp_path, {"run": "0002"}).load() is None
    next(tmp_path.iterdir()).rename(tmp_path / "x.partial")
    assert mine.load() is None


def test_code_that_prints_without_end_is_stopped_and_what_others_print_is_not(capsys):
    def talk():
        while True:
            sys.stdout.write("x" * 10_000)

    with pytest.raises(ModelCodeFailed, match="OutputTooLong: it printed more than 1,000,000 characters"):
        code.run(talk, "build(spec)")
    assert len(capsys.readouterr().out) <= code.PRINTED
    assert code.run(lambda: print("hello") or 5, "build(spec)") == 5
    assert capsys.readouterr().out == "hello\n"


def test_a_run_made_again_asks_for_the_settings_that_its_search_had_found(tmp_path):
    run = Run(
        model="boats",
        epoch=3,
        cause="upload",
        execution="x",
        started_at="2024-06-01T12:00:00Z",
        uploads=(),
        spec_hash="s",
        code_hash="c",
        dataset="d",
    )
    then = evaluation(0.7, settings={"learning_rate": 0.0123456789, "max_leaf_nodes": 7, "max_depth": 2})
    searched = spec(SPEC + SEARCH)
    reproduce._settings(run, then, searched, tmp_path)
    asked = json.loads((tmp_path / "input/config/hyperparameters.json").read_text())
    assert asked == {"model": "boats", "run": "0003", "code": "c", "learning_rate": "0.0123456789", "max_leaf_nodes": "7"}
    assert jobs.setting("learning_rate", asked["learning_rate"], searched.train) == then.settings["learning_rate"]
