"""Instances of a revision: who takes a call, who waits, who is started, who has to go.

`choose` and `evict` decide and are pure; `group` and `pool` hold the instances and apply.
"""
