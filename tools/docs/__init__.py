"""The documentation: its pages, and the site.

`pages` reads the pages, and `site` is a hook of MkDocs.
What checks the pages is in `tests/docs`:

- `checks`: what a page says, without running it; it names the treatment of each block
- `data`: blocks of YAML, JSON and TOML
- `shell`, `transcript`: the commands of a block, and what it shows below them
- `sessions`, `clusters`: a reader at a terminal, who may have a cluster
"""
