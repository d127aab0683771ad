"""From a token, a request or a user back to who used it, by the logs of all parts.

`lines` finds JSON in files, `events` reads it, `search` follows one token, request or user, and
`unusual` lists what a reviewer should look at. Logs are read once, and memory is bounded.
"""
