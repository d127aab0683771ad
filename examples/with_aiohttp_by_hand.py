"""aiohttp in a hot loop, without a middleware: `python with_aiohttp_by_hand.py URL`.

Handle a 401 yourself: `token = await credentials.token_async()`, then
`await credentials.renew_async(token)`, then send the request again.
"""

import asyncio
import sys

import aiohttp

import daypass


async def ask(
    session: aiohttp.ClientSession, credentials: daypass.Credentials, url: str
) -> aiohttp.ClientResponse:
    headers = await credentials.headers_async()
    return await session.get(url, headers=headers)


async def main(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await ask(session, daypass.Credentials.load(), url)
        print(await answer.text())  # of a refusal, too: it says why
        answer.raise_for_status()


asyncio.run(main(sys.argv[1]))
