#!/usr/bin/env bash
# Builds the site of docs/ in output/site and fails at the first warning: bash scripts/docs.sh
# bash scripts/docs.sh --links also checks the links to other sites, which needs the network.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
ensure_environment requirements.txt requirements-dev.txt requirements-docs.txt

python docs/reference_pages.py
sphinx-build -W --keep-going -q -b html docs output/site
echo "written: output/site/index.html"
if [ "${1:-}" = --links ]; then
    sphinx-build -q -b linkcheck docs output/site-links
fi
