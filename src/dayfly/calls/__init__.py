"""One call, from admission to its record."""
