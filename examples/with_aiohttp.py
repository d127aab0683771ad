"""aiohttp at a gate: `python with_aiohttp.py https://kubeflow.example.com/pipeline`.

DAYPASS_CREDENTIALS names the credentials file. SSL_CERT_FILE names the gate's certificate
authority, if the machine does not trust it already.
"""

import asyncio
import sys

import daypass
import daypass.integrations.aiohttp
import aiohttp


async def main(url: str) -> None:
    credentials = daypass.Credentials.load()
    auth = daypass.integrations.aiohttp.Auth(credentials, url)
    async with aiohttp.ClientSession(middlewares=(auth,)) as session:
        answer = await session.get(url)
        print(await answer.text())  # of a refusal, too: it says why
        answer.raise_for_status()


asyncio.run(main(sys.argv[1]))
