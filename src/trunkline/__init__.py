"""Trunkline: a declarative, config-driven GitOps framework for production machine learning."""

__version__ = "0.1.0"
