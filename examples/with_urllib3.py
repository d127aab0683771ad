"""urllib3 at a gate: `python with_urllib3.py https://kubeflow.example.com/pipeline`.

DAYPASS_CREDENTIALS names the credentials file. SSL_CERT_FILE names the gate's certificate
authority, if the machine does not trust it already.
"""

import sys

import daypass
import daypass.integrations.urllib3

url = sys.argv[1]

credentials = daypass.Credentials.load()
with daypass.integrations.urllib3.PoolManager(credentials) as pools:
    answer = pools.request("GET", url)
    print(answer.data.decode())

sys.exit(answer.status != 200)
