"""What is generated from the code: parts of pages in docs/reference/.

`make reference` writes them. Each module is for one page. `__main__` lists the parts: each is the
text between `<!-- make reference: NAME -->` and `<!-- /make reference -->`; edit the rest by hand.
"""
