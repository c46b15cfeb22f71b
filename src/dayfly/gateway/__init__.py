"""Bytes in, bytes out: one port with a fast lane for calls of functions and a wide lane for everything else."""
