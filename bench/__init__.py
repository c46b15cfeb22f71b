"""The numbers of SPECIFICATION.md, measured: `python -m bench [MEASURE...] [--quick]`.

Everything is a ratio of two things measured in turns in the same run, because the machines are shared: Dayfly beside the floor that
the machine allows. A measure is a function in `bench/measures/` that yields rows (a name and one value a round) and promises.
"""
