"""The pages that people read, run and checked word by word."""
