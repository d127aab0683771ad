"""Kubeflow Pipelines behind a gate: `python with_kfp.py https://kubeflow.example.com team`.

Uploads a pipeline, runs it, and prints the ID of the run. DAYPASS_CREDENTIALS names the credentials
file. SSL_CERT_FILE names the gate's certificate authority, if it is not a public one.
"""

import os
import sys
import tempfile

import daypass
import daypass.integrations.kfp
import kfp
from kfp import compiler, dsl


@dsl.container_component
def hello() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="busybox", command=["echo", "hello"])


@dsl.pipeline(name="hello")
def pipeline() -> None:
    hello()


host, namespace = sys.argv[1:]
authority = os.environ.get("SSL_CERT_FILE")

credentials = daypass.Credentials.load()
client = kfp.Client(
    host=host,
    namespace=namespace,
    credentials=daypass.integrations.kfp.TokenCredentials(credentials),
    ssl_ca_cert=authority,
)
experiment = client.create_experiment("nightly")
with tempfile.TemporaryDirectory() as folder:
    package = os.path.join(folder, "hello.yaml")
    compiler.Compiler().compile(pipeline, package)
    client.upload_pipeline(package, pipeline_name="hello")
    print(client.run_pipeline(experiment.experiment_id, "first", package).run_id)
