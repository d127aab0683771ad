"""From a token, a request or a user back to who used it, by the logs of all parts.

`lines` finds JSON in files, `events` reads it, and `search` follows one token, request or user.
Logs are read once, and memory is bounded.
"""
