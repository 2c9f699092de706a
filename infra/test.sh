#!/usr/bin/env bash
# Test the module: `infra/test.sh` in under a minute; `infra/test.sh where-it-can` the same, or one line that says
# what is left out and why; `infra/test.sh cycle` what waits for others: the stack applied to moto, the policies
# broken on purpose, the image built and run.
set -euo pipefail
cd "$(dirname "$0")/.."

# The tests hide the caller's settings; those that are for tests pass.
export SLUICE_TEST_TF_PLUGIN_DIR="${SLUICE_TF_PLUGIN_DIR:-${SLUICE_TEST_TF_PLUGIN_DIR:-}}"
if [ "${1:-}" = where-it-can ]; then
  missing=$(.venv/bin/python -m tests.infra.terraform)
  if [ -n "$missing" ]; then
    echo "Left out: the tests of the Terraform module (make infra-test). $missing" >&2
    exit 0
  fi
fi

checkers=.venv-infra
if [ ! -e "$checkers/.installed" ] || [ requirements/infra.txt -nt "$checkers/.installed" ]; then
  .venv/bin/python -m venv "$checkers"
  echo '*' > "$checkers/.gitignore"
  "$checkers/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/infra.txt
  touch "$checkers/.installed"
fi

if [ "${1:-}" = cycle ]; then
  # Three at once on two cores: what applies and destroys waits most of its time.
  exec .venv/bin/pytest tests/infra -m infra -n 3 --dist loadfile
fi
exec .venv/bin/pytest tests/infra -m "not infra" -n 2 --dist loadfile
