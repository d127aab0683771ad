"""`daypass agent`: keeps token files fresh."""

import os
from argparse import ArgumentParser, Namespace

from daypass._core.hints import docs_page

EXTRA = None
SUMMARY = "keep token files fresh, as a daemon or once"
EPILOG = f"""examples:
  daypass agent --config /etc/daypass/agent.toml
  daypass agent --config agent.toml --once
  daypass agent --config agent.toml --log json

SIGTERM stops the agent and leaves the files.
{docs_page("how-to/token-files.md")} describes the config.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="which files to keep fresh, in TOML"
    )
    parser.add_argument("--once", action="store_true", help="renew every file once, and exit")
    parser.add_argument(
        "--credentials", metavar="FILE", help="instead of what config or environment name"
    )
    parser.add_argument(
        "--log",
        choices=("text", "json"),
        default="text",
        help="events on stderr (default: text)",
    )


def run(args: Namespace) -> int:
    """Keep the files fresh until SIGTERM or SIGINT, or renew them once."""
    import signal

    from daypass._core.clock import SYSTEM_CLOCK
    from daypass._core.server import write_stderr
    from daypass.agent.config import load_config
    from daypass.agent.daemon import Agent, Inbox, Message
    from daypass.agent.log import AgentLog
    from daypass.client.transport import SYSTEM_TIMING

    inbox = Inbox()
    agent = Agent(
        load_config(args.config),
        credentials=args.credentials,
        environ=os.environ,
        log=AgentLog(SYSTEM_CLOCK, write_stderr, as_json=args.log == "json"),
        timing=SYSTEM_TIMING,
        inbox=inbox,
    )
    if args.once:
        return 0 if agent.once() else 1
    # SimpleQueue.put is reentrant, so a signal handler may call it (Event.set is not).
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inbox.put(Message.STOP))
    agent.run()
    return 0
