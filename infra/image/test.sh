#!/usr/bin/env bash
# Build the worker's image and run it on local services; prints size and start time. By root, with
# buildah; where no registry is in reach also debootstrap. Skips with the reason where it cannot.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SLUICE_TEST_PYTHON_IMAGE="${PYTHON_IMAGE:-${SLUICE_TEST_PYTHON_IMAGE:-}}"
exec .venv/bin/pytest tests/infra/test_image.py -m infra -rs -s "$@"
