"""Read command-line options, compose the configurations of conf/, and report errors."""
