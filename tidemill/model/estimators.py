"""The estimators a spec can name, each a scikit-learn pipeline over the frame of `features`."""

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tidemill.spec import ModelSpec

MAX_CATEGORIES = 250
"""Below the 255 that histogram gradient boosting bins; rarer categories share one."""


def build(name: str, spec: ModelSpec) -> Pipeline:
    """An unfitted pipeline: "default" is histogram gradient boosting, "linear" logistic regression."""
    return _BUILDERS[name](spec)


def _default(spec: ModelSpec) -> Pipeline:
    categories, numbers = _kinds(spec)
    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=float("nan"), encoded_missing_value=float("nan"), max_categories=MAX_CATEGORIES
    )
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", "passthrough", numbers)])
    model = HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=200, max_leaf_nodes=31, l2_regularization=1.0, early_stopping=False,
        categorical_features=list(range(len(categories))), random_state=spec.train.seed,
    )  # fmt: skip
    return Pipeline([("columns", columns), ("model", model)])


def _linear(spec: ModelSpec) -> Pipeline:
    categories, numbers = _kinds(spec)
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)
    scale = make_pipeline(SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler())
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", scale, numbers)])
    return Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=1000, random_state=spec.train.seed))])


def _kinds(spec: ModelSpec) -> tuple[list[str], list[str]]:
    categories = [name for name in spec.features if spec.columns[name].type == "category"]
    return categories, [name for name in spec.features if name not in categories]


_BUILDERS = {"default": _default, "linear": _linear}
