#!/bin/sh
# Build wheel and sdist, install the wheel in an empty venv outside the checkout, and rehearse with it there.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
"$BIN/python" -m build --quiet --outdir "$work/dist" . > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$BIN/python" data_samples/generate.py "$work/app.db" --scale small > /dev/null
"$PYTHON" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$work"/dist/*.whl
cd "$work"
PYTHONPATH='' "$work/venv/bin/nasmigrate" --quiet rehearse app.db > "$work/report.txt" 2>&1 || {
  echo "the installed wheel cannot rehearse:"; cat "$work/report.txt"; exit 1; }
ls "$work/dist" | sed 's/^/built and rehearsed: /'
