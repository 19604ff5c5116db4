"""Generators as files: artifacts, bundled models, model cards, export and the hub."""
