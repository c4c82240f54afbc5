# The server's image. `docker build -t tencrop .` builds it for CPUs. `--build-arg EXTRAS=[gpu]` takes CUDA and cuDNN;
# run that image with `--gpus all`. Validations over HTTP need the packages of `evaluate`: EXTRAS=[cpu,evaluate].
#
# Both images have the same base. pip installs the CUDA libraries in the versions that onnxruntime-gpu asks for; an
# nvidia/cuda base could hold other versions. NVIDIA's container toolkit adds the driver of the host.
FROM python:3.11-slim-bookworm AS code
WORKDIR /src
ARG EXTRAS="[cpu]"
COPY pyproject.toml ./
COPY constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; extras = '${EXTRAS}'.strip('[]').split(','); \
    print(*p['dependencies'], *(line for e in extras if e for line in p['optional-dependencies'][e]), sep='\n')" > requirements.txt
COPY README.md ./
COPY LICENSE ./
COPY NOTICE ./
COPY tencrop tencrop
COPY common common
COPY model model
COPY images images
COPY runtime runtime
COPY dataset dataset
COPY training training
COPY export export
COPY evaluation evaluation
COPY server server
# tencrop/ holds links to the rooms. pip follows them, and the installed package holds files.
RUN pip install --no-cache-dir --no-deps --compile --root /code --prefix /usr/local .

FROM python:3.11-slim-bookworm
# The next two layers change only with the dependencies and their versions. compileall writes the bytecode of the
# standard library, which the base lacks: the container's user cannot write it.
COPY --from=code /src/requirements.txt /src/constraints.txt /usr/local/share/tencrop/
RUN cd /usr/local/share/tencrop && pip install --no-cache-dir --compile -r requirements.txt -c constraints.txt \
    && python -m compileall -q -x site-packages /usr/local/lib/python3.11 \
    && install -d -o 10001 -g 10001 /var/lib/tencrop
COPY --from=code /code/usr/local /usr/local

# Libraries write caches below HOME, such as CUDA's compiled kernels. /tmp is writable even where the root is read-only.
ENV HOME=/tmp \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1 \
    TENCROP_HOST=0.0.0.0 \
    TENCROP_STATE_DIR=/var/lib/tencrop
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-ISc", "\
import http.client, os; \
server = http.client.HTTPConnection(os.environ['TENCROP_HOST'], int(os.environ.get('TENCROP_PORT', 8000)), timeout=2); \
server.request('GET', '/readyz'); \
raise SystemExit(server.getresponse().status != 200)"]
ENTRYPOINT ["tencrop"]
CMD ["serve"]
