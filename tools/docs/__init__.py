"""The documentation: its pages, and the site.

`pages` reads the pages, and `site` is a hook of MkDocs.
What checks the pages is in `tests/support`:

- `doc_checks`: what a page says, without running it; it names the treatment of each block
- `doc_data`: blocks of YAML, JSON and TOML
- `doc_shell`, `doc_transcript`: the commands of a block, and what it shows below them
- `doc_sessions`, `doc_clusters`: a reader at a terminal, who may have a cluster
"""
