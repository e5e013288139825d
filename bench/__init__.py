"""The benchmark: copytool, tcpcopy and goreplay mirror the same load in the same network, one after the other.

`python -m bench --help` says how to run it, docs/performance.md what its numbers mean.
"""
