#!/bin/sh
# Compile every lock from pyproject.toml. No uv.lock: it would name a registry's host.
set -eu
cd "$(dirname "$0")/.."
compile() {
    out=$1
    shift
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --fork-strategy fewest --python-version 3.11 \
        --custom-compile-command "make lock" --no-annotate --output-file "$out" "$@"
}
compile requirements/dev.txt pyproject.toml --extra dev
compile requirements.txt pyproject.toml -c requirements/dev.txt --extra cli --extra container --extra flights --extra infra --extra local
compile requirements/light.txt pyproject.toml -c requirements/dev.txt
compile requirements/frames.txt pyproject.toml -c requirements/dev.txt --extra frames
compile requirements/container.txt pyproject.toml -c requirements/dev.txt --extra container
# A server for tests, alone: it wants older versions of what others here use.
compile requirements/mlflow.txt --group mlflow
compile requirements/lambda-runtime.txt -c requirements/dev.txt --group lambda-runtime
