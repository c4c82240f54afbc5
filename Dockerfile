# The server on a CPU; with `--build-arg EXTRAS=[gpu]` the CUDA libraries come along (run it with `--gpus all`).
FROM python:3.11-slim-bookworm

ARG EXTRAS=""
ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    TENCROP_HOST=0.0.0.0

WORKDIR /app
COPY pyproject.toml README.md tencrop.py ./
COPY model model
COPY dataset dataset
COPY training training
COPY export export
COPY server server
RUN pip install --editable ".${EXTRAS}" && chmod -R a+rX . && useradd --system --no-create-home tencrop

USER tencrop
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["tencrop"]
CMD ["serve"]
