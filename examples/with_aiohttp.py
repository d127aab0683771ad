"""aiohttp at a gate: `python with_aiohttp.py https://kubeflow.example.com/pipeline`.

DAYPASS_CREDENTIALS names the credentials file. SSL_CERT_FILE names the gate's certificate
authority, if the machine does not trust it already.
"""

import asyncio
import sys

import aiohttp

import daypass
import daypass.integrations.aiohttp


async def main(url: str) -> None:
    auth = daypass.integrations.aiohttp.Auth(daypass.Credentials.load(), url)
    async with aiohttp.ClientSession(middlewares=(auth,)) as session:
        answer = await session.get(url, raise_for_status=True)
        print(await answer.text())


asyncio.run(main(sys.argv[1]))
