"""The forge on one machine: what the workflows run against, in tests."""
