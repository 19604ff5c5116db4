"""Implementation of the larger commands: benchmark, check_data, report and demo."""
