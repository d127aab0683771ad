"""From a token, a request or a user back to who used it, by the logs of all components.

`events` reads the JSON on lines of files, and `search` follows one token, request or user.
Logs are read once, and memory is bounded.
"""
