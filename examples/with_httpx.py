"""httpx at a gate: `python with_httpx.py https://kubeflow.example.com/pipeline`.

DAYPASS_CREDENTIALS names the credentials file. SSL_CERT_FILE names the gate's certificate
authority, if the machine does not trust it already.
"""

import sys

import daypass
import daypass.integrations.httpx
import httpx

url = sys.argv[1]

credentials = daypass.Credentials.load()
with httpx.Client(auth=daypass.integrations.httpx.Auth(credentials)) as client:
    answer = client.get(url)
    print(answer.text)  # of a refusal, too: it says why
    answer.raise_for_status()
