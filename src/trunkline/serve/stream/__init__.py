"""Scores on a stream: requests from a broker's topic, answers to another, each once (docs/stream.md)."""
