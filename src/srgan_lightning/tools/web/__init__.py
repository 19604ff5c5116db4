"""The web page of `python -m srgan_lightning.demo`."""

import os

# Gradio and huggingface_hub read these variables when they are imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
