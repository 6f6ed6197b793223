#!/bin/sh
# The connector as the image has it: what it needs, locked by version and hash, and the wheel of this source.
#   install.sh SOURCE FOLDER
# FOLDER becomes a virtual environment with FOLDER/bin/binance-kafka-source. Nothing else is left behind.
set -eu
source=$(cd "$1" && pwd)
target=$2
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/build"
# The target has no pip of its own: the one of the build installs into it.
"$python" -m venv --without-pip "$target"
pip="$work/build/bin/python -m pip --disable-pip-version-check --quiet"
locked="--require-hashes --only-binary :all: --requirement"
# shellcheck disable=SC2086 # words of a command, here and below
$pip install $locked "$source/requirements-build.lock"
# shellcheck disable=SC2086
$pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheel" "$source"
# shellcheck disable=SC2086
$pip --python "$target/bin/python" install $locked "$source/requirements-run.lock"
# shellcheck disable=SC2086
$pip --python "$target/bin/python" install --no-deps --no-index "$work"/wheel/*.whl
# shellcheck disable=SC2086
$pip --python "$target/bin/python" check
