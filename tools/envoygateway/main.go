// Command envoygateway is Envoy Gateway's control plane, so that what daypass
// renders for the Gateway API is tested on the real thing.
//
// Its addresses and the folder of its certificates are fixed, for the container
// that it is made for. Here the folder is `certs` below the current one, and
// all addresses are loopback's (changes.json changes those that are constants).
// Two are taken from the environment; what stays fixed is port 18000.
package main

import (
	"fmt"
	"os"
	"strconv"
	_ "unsafe" // go:linkname

	"github.com/envoyproxy/gateway/cmd/envoy-gateway/root"
	ctrl "sigs.k8s.io/controller-runtime"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

//go:linkname certificates github.com/envoyproxy/gateway/internal/provider/kubernetes.webhookTLSCertDir
var certificates string

//go:linkname webhookPort github.com/envoyproxy/gateway/internal/provider/kubernetes.webhookTLSPort
var webhookPort int

//go:linkname healthAddress github.com/envoyproxy/gateway/internal/provider/kubernetes.healthProbeBindAddress
var healthAddress string

func main() {
	certificates = "certs"
	metrics.DefaultBindAddress = "0"
	if port, err := strconv.Atoi(os.Getenv("WEBHOOK_PORT")); err == nil {
		webhookPort = port
	}
	if address, set := os.LookupEnv("HEALTH_ADDRESS"); set {
		healthAddress = address
	}
	if err := root.GetRootCommand(nil).ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
