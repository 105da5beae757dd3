# The worker's image. The base is an argument; it needs Python 3.11 or newer with venv and pip:
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim -t enricher .
# Plain steps only, so that the classic builder, buildah and kaniko build it too.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
# SSL_CERT_FILE: the base image's certificates, which a company may have added its own to.
# PYC_INVALIDATION_MODE: by content, so that two builds of one lock file have the same files, byte for byte.
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_LINK_MODE=copy \
    UV_PYTHON=python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/enricher
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet uv==0.13.9
WORKDIR /src
# The dependencies alone first: this layer stays until uv.lock changes.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --locked --no-dev --extra tracing --no-install-project
COPY LICENSE README.md ./
COPY avro avro
COPY enricher enricher
# uv notes when it read our sources: a time that would differ with each build.
RUN /opt/uv/bin/uv sync --locked --no-dev --extra tracing --no-editable && \
    info=$(echo /opt/enricher/lib/python3.*/site-packages/enricher-*.dist-info) && \
    rm "$info/uv_cache.json" && sed -i '/uv_cache.json/d' "$info/RECORD"

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/enricher /opt/enricher
ENV PATH=/opt/enricher/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="enricher" \
      org.opencontainers.image.description="Enriches customer-contact events on Kafka with each customer's offer history" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
# Of the worker; for what else the image runs, its container says so. Kubernetes has probes of its own.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
  CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('ENRICHER_HTTP__LISTEN', ':8080').rpartition(':')[2] + '/livez', timeout=4)"]
ENTRYPOINT ["enricher"]
CMD ["run"]
