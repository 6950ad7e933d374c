# An engine on NVIDIA's own Triton, for GPUs: llama.cpp, built for CUDA, runs the steps. With the Python that Triton's image has.
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:25.04-py3

FROM ${TRITON_IMAGE}
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# In a file of Python's own, not in the environment: the interpreter inside Triton reads no environment.
RUN groupadd --gid 10001 synergy \
    && useradd --uid 10001 --gid synergy --no-create-home --home-dir /app --shell /usr/sbin/nologin synergy \
    && folder="$(python3 -c 'import site; print(site.getsitepackages()[0])')" \
    && mkdir -p "$folder" \
    && printf '%s\n' /app /opt/service /opt/common > "$folder/synergysched.pth"
WORKDIR /app

COPY infra/images/locks/common.lock infra/images/locks/gpu.lock /tmp/
RUN pip install --quiet --no-cache-dir --no-deps --require-hashes --target /opt/common --requirement /tmp/common.lock \
    && pip install --quiet --no-cache-dir --no-deps --require-hashes --target /opt/service --requirement /tmp/gpu.lock
COPY shared shared
COPY services/__init__.py services/__init__.py
COPY services/engine services/engine
USER synergy
ENTRYPOINT ["python3", "-m", "services.engine"]
