# docker build -t srgan-lightning .                                       for CPUs
# docker build -t srgan-lightning --build-arg TORCH_BACKEND=cu130 .       for NVIDIA GPUs; run it with --gpus all
# docker run --rm -p 127.0.0.1:7860:7860 srgan-lightning                  the web page, on http://127.0.0.1:7860
# docker run --rm -v "$PWD:/work" -u "$(id -u)" srgan-lightning srgan-upscale photo.jpg -o big
FROM python:3.11-slim

# A build of PyTorch, by uv's names: cpu, cu128, cu130, ...
ARG TORCH_BACKEND=cpu

COPY pyproject.toml README.md LICENSE /source/
COPY conf /source/conf
COPY src /source/src
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --torch-backend="$TORCH_BACKEND" "/source[demo]"

# Any user may write there, -u among them: settings and caches of libraries.
ENV HOME=/home/user PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 user && chmod 777 /home/user
USER 1000
WORKDIR /work

EXPOSE 7860
CMD ["srgan-demo", "--host", "0.0.0.0"]
