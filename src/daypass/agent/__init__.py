"""The file agent: keeps token files fresh for programs that do not use daypass.

`config` reads the TOML file. A `file_renewer` renews one file: it requests a token, writes it and
runs the hooks. `daemon` runs one renewer per file, each on its own thread so that a slow
door or hook delays no other file, and handles signals, probes and systemd. `log` defines all
events.

The config is TOML because the standard library reads it, it has comments, and errors have a line.
The credentials are read again for each renewal, so rotating an identity means replacing a file.

The agent never passes a token to a hook, never makes a token file readable by everyone, and never
deletes a token file: an expired token stays in its file, with an error in the log, until a new one
replaces it.
"""
