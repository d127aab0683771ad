"""Measurements that docs/performance.md quotes: `python -m bench [NAME ...]`.

Everything is measured side by side with what it is compared to, in turns, in one run; what counts
is the ratio of each pair and its spread, since machines are noisy and ratios less so.
"""
