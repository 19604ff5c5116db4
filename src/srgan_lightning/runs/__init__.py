"""Run directories: their files, which checkpoint a run is resumed from, and how it was made."""
