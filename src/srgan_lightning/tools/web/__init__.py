"""The web page of `python -m srgan_lightning.demo`."""

import os

# Read by Gradio, and by huggingface_hub, as they are imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
