"""Run directories: their files, resuming, and provenance."""
