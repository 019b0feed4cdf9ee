# One image for all services: `python3 -m services.<name>`. Build: make images. Works with a read-only root and any user.
#
# BASE is any Debian 12 or later (or python:*-slim) with Python 3.11 or later; give one with its digest for production.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# strip, for the libraries' debug symbols; python3-venv where the base is a plain Debian. Neither reaches the image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && { python3 -c 'import ensurepip' 2> /dev/null || apt-get install --yes --no-install-recommends python3-venv; } \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements-image.lock deploy/docker/slim.py deploy/docker/imports.py ./
# Wheels with their hashes only: nothing is built, nothing unknown gets in. No dependency but the locked ones.
RUN python3 -m venv /opt/tollgate/venv \
    && /opt/tollgate/venv/bin/pip install --quiet --no-compile --no-deps --require-hashes --only-binary :all: \
        -r requirements-image.lock \
    && /opt/tollgate/venv/bin/pip uninstall --quiet --yes pip setuptools \
    && python3 slim.py "$(echo /opt/tollgate/venv/lib/python3*/site-packages)"
COPY services /opt/tollgate/services
COPY shared /opt/tollgate/shared
COPY config.example.yaml LICENSE /opt/tollgate/
COPY deploy/docker/tollgate /opt/tollgate/venv/bin/
# Compiled here, since the root is read-only where it runs: ours, and what is imported at a start (so this is a test of the imports too).
WORKDIR /opt/tollgate
RUN rm -rf services/suite services/__main__.py \
    && venv/bin/python -m compileall -q services shared \
    && venv/bin/python -c 'import services.edge.app, services.policy.app, services.moderation.app, services.ledger.app, uvloop' \
    && venv/bin/python /build/imports.py . \
    && mkdir /build/data
# The scanner's rules, compiled once: a start reads them in half a second, where compiling takes several.
RUN TOLLGATE_CACHE_DIR=/build/cache venv/bin/python -m services.moderation.prepare

FROM ${BASE}
COPY --from=build /opt/tollgate /opt/tollgate
# A fresh volume takes the owner of what it is mounted over.
COPY --from=build --chown=10001:10001 /build/data /var/lib/tollgate
# Only read by the account that owns it; any other compiles at its start.
COPY --from=build --chown=10001:10001 /build/cache /opt/tollgate/cache
ENV PATH=/opt/tollgate/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TOLLGATE_CONFIG=/etc/tollgate/config.yaml \
    TOLLGATE_DATA_DIR=/var/lib/tollgate \
    TOLLGATE_CACHE_DIR=/opt/tollgate/cache \
    TOLLGATE_EDGE_PROBE_HOST=0.0.0.0 \
    TOLLGATE_LEDGER_HOST=0.0.0.0 \
    TOLLGATE_LEDGER_PROBE_HOST=0.0.0.0 \
    TOLLGATE_POLICY_PROBE_HOST=0.0.0.0 \
    TOLLGATE_MODERATION_PROBE_HOST=0.0.0.0
WORKDIR /opt/tollgate
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["python"]
CMD ["-m", "services.edge"]
