"""From files to batches of HR, and from HR to LR."""
