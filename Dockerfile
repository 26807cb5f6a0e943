# All commands in a container, with the packages of requirements.txt and constraints.txt:
#   docker build -t moegs .
#   docker run --gpus all -v "$PWD/data:/moegs/data" -v "$PWD/output:/moegs/output" moegs train-expert --help
# Without a GPU, several GB smaller:
#   docker build -t moegs --build-arg BASE=ubuntu:24.04 \
#     --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu --build-arg CUDA_ARCHS= .
ARG BASE=nvidia/cuda:13.0.1-devel-ubuntu24.04
FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /moegs
ENV MOEGS_RASTERIZER_CACHE=/moegs/.cache VIRTUAL_ENV=/moegs/.venv PATH=/moegs/.venv/bin:$PATH
COPY . .
ARG TORCH_INDEX_URL
RUN bash scripts/env_setup.sh
# GPUs to compile for; newer ones translate the PTX of the last.
ARG CUDA_ARCHS="80;86;89;90;100;120"
RUN if [ -n "$CUDA_ARCHS" ]; then python -m moegs_rasterizer.build --cuda --cuda_archs "$CUDA_ARCHS"; fi
ENTRYPOINT ["python", "moegs.py"]
CMD ["doctor"]
