"""Scores of SR against HR, and of SR alone, with their tables."""
