"""requests at a gate: `python with_requests.py https://kubeflow.example.com/pipeline`.

DAYPASS_CREDENTIALS names the credentials file. REQUESTS_CA_BUNDLE names the gate's certificate
authority, if it is not a public one.
"""

import sys

import daypass
import daypass.integrations.requests
import requests

url = sys.argv[1]

credentials = daypass.Credentials.load()
with requests.Session() as session:
    session.auth = daypass.integrations.requests.Auth(credentials)
    answer = session.get(url, timeout=30)
    print(answer.text)  # of a refusal, too: it says why
    answer.raise_for_status()
