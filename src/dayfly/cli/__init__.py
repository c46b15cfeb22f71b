"""The command line, `dayfly`.

It starts in a tenth of a second because nothing is imported before it is needed: `main` knows the names and one-line helps
of all commands as data and loads the module of the one that runs; `client` is built on `http.client` of the standard
library, which costs half of what an HTTP client library does. Data goes to stdout, everything else to stderr, and the
exit code says what happened (`errors.ExitCode`).
"""
