"""What the larger commands do: benchmark, check_data, report and demo."""
