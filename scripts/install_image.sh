#!/usr/bin/env bash
# The steps that put Posegen into a folder of its own, from a copy of this repository. Dockerfile.cuda runs them, and
# scripts/prove_install.sh runs the same ones without Docker, so what is proven there is what the image does.
#   scripts/install_image.sh packages   .venv beside pyproject.toml, and every package at constraints.txt's version
#   scripts/install_image.sh posegen    this code into that .venv; needs the whole repository
# Two steps, so that an image's largest layer stays the same while only the code changes. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
EXTRAS="gpu detect dashboard"
PIP=(.venv/bin/python -m pip --disable-pip-version-check --no-input)

wanted_packages() {
  .venv/bin/python - "$@" <<'PYTHON'
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print("\n".join([*project["dependencies"], *(line for extra in sys.argv[1:] for line in project["optional-dependencies"][extra])]))
PYTHON
}

case "${1:-}" in
  packages)
    "${PYTHON:-python3}" -m venv --clear .venv
    # shellcheck disable=SC2086 # one word an extra
    wanted_packages $EXTRAS >.venv/wanted.txt
    "${PIP[@]}" install --retries 10 -c constraints.txt -r .venv/wanted.txt
    # rtmlib asks for two builds of OpenCV that break the headless one.
    "${PIP[@]}" install --retries 10 --no-deps -c constraints.txt rtmlib
    ;;
  posegen)
    # Where it lies, not copied: migrations, the library and the pages stay files beside the code.
    "${PIP[@]}" install --no-deps -c constraints.txt -e .
    .venv/bin/python -c "import api.app, posegen.cli, gpu_worker.process"
    .venv/bin/python -c "import torch, diffusers, transformers; print('torch', torch.__version__)"
    ;;
  *)
    sed -n '2,6p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
