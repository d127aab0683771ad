"""The file agent: keeps token files fresh for programs that know nothing of daypass.

`reading` makes an AgentConfig (`config`) of a TOML file; `schedule` decides, purely, when a file
is due; a `keeper` keeps one file: it asks for a token, has it put in place whole (`placing`), and
tells whoever has to know (`hooks`). `daemon` runs the keepers, each on a thread of its own so that
none waits for another's slow door or hook, and is what signals, a changed config and systemd
(`notify`) talk to. `events` is the closed list of what is logged; `health` answers probes.

Why TOML: the standard library reads it, it has comments, and a mistake has a line. Why the
credentials are read again for each renewal: a rotated identity is then a replaced file and nothing
else.

What it refuses to do: hand a token to a hook, open a token file to everybody, judge what a token is
for, or take a token file away. A file stays until its successor is in place, even if its token has
ended; that is said loudly instead.
"""
