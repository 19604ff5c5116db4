"""Helpers for all other packages: errors, files, hardware, safe loading. Nothing here knows images or networks."""
