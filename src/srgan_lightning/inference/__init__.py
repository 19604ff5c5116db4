"""Upscale and evaluate with trained generators."""
