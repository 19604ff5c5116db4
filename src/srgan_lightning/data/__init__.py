"""Load HR images in batches, and degrade HR to LR."""
