"""Pictures as files and as tensors: reading, writing, resizing, rounding."""
