"""Read, write, resize and round images."""
