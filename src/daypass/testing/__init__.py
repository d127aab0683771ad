"""The local stack and tokens of any shape as pytest fixtures, for other people's projects.

The rest of daypass does not import this package.
"""
