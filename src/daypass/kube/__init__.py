"""The one seam to a Kubernetes API server, for admin work: config, errors, apply, watch.

Whatever talks to an API server as an admin does it through `Cluster`, with plain dictionaries, as
rendered and as answered. The client that people embed never imports this package.

Why httpx2 and not a Kubernetes client library. The official client (37.0) takes half a second to
import, which is more than most commands here take in all. lightkube (1.0) and kr8s (0.20) are
quick, but do not read all that kubectl reads: exec plugins of v1 that are told about the cluster,
`proxy-url`, `tls-server-name`, several files in KUBECONFIG; neither can delete an object only if it
still has the UID that was looked at; and kr8s leaves client keys behind in the temporary folder.
What is left of such a library without these is an HTTP client, so that is what this stands on:
connections, proxies and TLS are httpx2's, by the author of httpx and the base of lightkube itself.

There is no way here to leave the verification of TLS out.
"""
