"""The pages of docs/reference/ that are made from the code, and the man pages: `make reference`.

A module is a page: its `page()` returns the text. `__main__` names the file of each.
"""
