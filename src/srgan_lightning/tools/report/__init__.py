"""Report on finished runs: curves of one run, a table and a picture of a sweep."""
