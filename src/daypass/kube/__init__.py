"""A Kubernetes client for administration: get, list, watch, create, apply, patch, delete.

Commands send their requests through `Cluster`; `AsyncCluster` lists and watches in an event loop.
Objects are plain dictionaries. The client that users embed never imports this package. TLS
verification cannot be switched off.

cluster: the client, and waiting for what the cluster does. watching: lists and watches in an event
loop. resources: kinds of objects. answers: what is asked for and read, and how much. connection:
TLS, proxy and credentials. kubeconfig: where these come from. http2: connections for many watches.
lease: leader election. errors: what to do about a failure.

Why httpx2 and not a Kubernetes client library: the official client (37.0) takes half a second to
import, more than most commands here take in all. lightkube (1.0) and kr8s (0.20) are quick, but do
not read all that kubectl reads: exec plugins of v1 with cluster information, `proxy-url`,
`tls-server-name`, several files in KUBECONFIG. Neither can delete an object only if it still has
its UID, and kr8s leaves client keys behind in the temporary folder.

Why other code does not use this client: `client.transport` has to start in no time,
`gate.authorizer.api_server` to send a review with little CPU, and `local` asks Envoy at a Unix
socket, and an API server with the door's own request (http.client).
"""
