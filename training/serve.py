"""serve: the hosting contract. GET /ping says whether the model is loaded, POST /invocations scores rows.

The environment names the package that answers (MODEL_PACKAGE); the port is SageMaker's SAGEMAKER_BIND_TO_PORT, or 8080.
"""

import json
import os
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tidemill import predict
from tidemill.answer import answers, csv_line
from tidemill.errors import ScoringRefused
from tidemill.model import package
from tidemill.model.features import features_from_columns
from training import paths

ANSWERED_BY = "X-Amzn-SageMaker-Custom-Attributes"


@dataclass(frozen=True)
class Invocations:
    """The /invocations endpoint of one loaded model."""

    scorer: package.Scorer
    name: str

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        try:
            return await run_in_threadpool(self._answer, body, request.headers)
        except predict.RowRefused as error:
            return self._refuse(error.detail | {"message": str(error)})
        except ScoringRefused as error:
            return self._refuse({"message": str(error)})

    def _answer(self, body: bytes, headers: Headers) -> Response:
        content, accept = _media(headers, "content-type"), _media(headers, "accept")
        card = self.scorer.card
        spec = card.spec
        if content not in ("text/csv", "application/json"):
            raise ScoringRefused(f"content type {content or 'missing'}: send text/csv or application/json")
        columns = predict.parse_csv(body, spec) if content == "text/csv" else predict.parse_json(body, spec)
        scores = self.scorer.scores(features_from_columns(columns, spec)).tolist()
        predictions = answers(scores, spec.task, card.threshold, card.classes)
        named = {ANSWERED_BY: self.name}
        if accept == "text/csv":
            return PlainTextResponse("".join(map(csv_line, predictions)), media_type="text/csv", headers=named)
        return JSONResponse({"model": self.name, "predictions": predictions}, headers=named)

    def _refuse(self, error: dict[str, object]) -> Response:
        # ASCII: what a client sent may hold lone surrogates, which have no UTF-8.
        return Response(json.dumps({"error": error}), status_code=400, media_type="application/json", headers={ANSWERED_BY: self.name})


def _media(headers: Headers, name: str) -> str:
    return headers.get(name, "").partition(";")[0].strip().lower()


async def ping(_: Request) -> Response:
    return Response(status_code=200)


def application(scorer: package.Scorer, name: str) -> Starlette:
    invocations = Invocations(scorer, name)
    return Starlette(routes=[Route("/ping", ping), Route("/invocations", invocations.__call__, methods=["POST"])])


def main() -> None:
    """Load first, listen second: /ping answers only once the model can."""
    app = application(package.load(paths.MODEL), os.environ.get("MODEL_PACKAGE", "unregistered"))
    host = os.environ.get("BIND_HOST", "0.0.0.0")  # noqa: S104  # SageMaker reaches the container from outside
    uvicorn.run(app, host=host, port=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
