"""What daypass's own servers and daemons need, and no command and no client."""
