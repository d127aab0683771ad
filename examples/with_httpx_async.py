"""httpx and asyncio at a gate: `python with_httpx_async.py https://kubeflow.example.com/pipeline`.

DAYPASS_CREDENTIALS names the credentials file. SSL_CERT_FILE names the gate's certificate
authority, if the machine does not trust it already.
"""

import asyncio
import sys

import daypass
import daypass.integrations.httpx
import httpx


async def main(url: str) -> None:
    credentials = daypass.Credentials.load()
    async with httpx.AsyncClient(auth=daypass.integrations.httpx.Auth(credentials)) as client:
        answers = await asyncio.gather(*(client.get(url) for _ in range(3)))
    print(answers[0].text)  # of a refusal, too: it says why
    answers[0].raise_for_status()


asyncio.run(main(sys.argv[1]))
