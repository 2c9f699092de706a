# syntax=docker/dockerfile:1
# The worker, and the `sluice` command, which the daily purge of tombstones runs. docs/image.md says how your own tables come in.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
COPY requirements/worker.txt /build/worker.txt
# A virtual environment moves to the next stage whole, wherever this image's Python installs.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r /build/worker.txt \
    && /opt/venv/bin/python -m pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 sluice \
    && useradd --system --uid 10001 --gid 10001 --home-dir /run/sluice --no-create-home --shell /usr/sbin/nologin sluice \
    && install -d -o 10001 -g 10001 -m 0700 /run/sluice
COPY --from=build /opt/venv /opt/venv
COPY producer/ /app/producer/
COPY worker/ /app/worker/
COPY console/ /app/console/
COPY --chmod=0555 infra/image/start /usr/local/bin/sluice-start
# A folder that holds your package; `examples` if none is named.
ARG TABLES=examples
COPY ${TABLES}/ /app/${TABLES}/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/run/sluice \
    SLUICE_HEALTH_FILE=/run/sluice/health
RUN python -m compileall -q /app
WORKDIR /app
USER 10001:10001
# The one place that the worker writes to: Fargate mounts it over the read-only root, with this owner.
VOLUME ["/run/sluice"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 CMD ["python", "-m", "worker", "health"]
ENTRYPOINT ["sluice-start"]
