"""Durable compositions of functions: sequences and conductors. A journal of what happened, a fold over it, a decision, a loop."""
