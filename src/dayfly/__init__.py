"""Dayfly: a serverless platform for one Linux machine, without Docker and without Kubernetes."""

__version__ = "0.1.0"
