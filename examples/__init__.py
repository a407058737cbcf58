"""Examples that are run, such as `python -m examples.year`."""
