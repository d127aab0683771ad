// Command controlplane is etcd, kube-apiserver and kube-controller-manager of
// one Kubernetes release in a single binary, so that daypass is tested against
// the real thing on a machine that has Go and nothing else.
//
//	controlplane etcd|kube-apiserver|kube-controller-manager [flags of that program]
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/server/v3/etcdmain"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	program := os.Args[1]
	os.Args = append([]string{program}, os.Args[2:]...)
	switch program {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(app.NewAPIServerCommand()))
	case "kube-controller-manager":
		for n, arg := range os.Args {
			if file, found := strings.CutPrefix(arg, "--kubeconfig="); found {
				deleteNamespacesAtOnce(file)
			}
			if names, found := strings.CutPrefix(arg, "--controllers="); found {
				// First, since the first of two that contradict each other counts.
				os.Args[n] = "--controllers=-namespace-controller," + names
			}
		}
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	default:
		usage()
	}
}

// deleteNamespacesAtOnce does what the namespace controller does, as soon as a
// namespace is deleted, and again until it is gone. The controller itself waits
// for five seconds (namespaceDeletionGracePeriod), for the sake of further API
// servers and etcds. It is left out: it could begin with one namespace and go on
// with a later one of the same name.
func deleteNamespacesAtOnce(kubeconfig string) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	config.QPS = -1 // no limit
	ctx := context.Background()
	client := kubernetes.NewForConfigOrDie(config)
	deleter := deletion.NewNamespacedResourcesDeleter(
		ctx, client.CoreV1().Namespaces(), metadata.NewForConfigOrDie(config), client.CoreV1(),
		client.Discovery().ServerPreferredNamespacedResources, v1.FinalizerKubernetes,
	)
	isDeleted := func(namespace any) bool {
		return namespace.(*v1.Namespace).DeletionTimestamp != nil
	}
	empty := func(namespace any) {
		name, uid := namespace.(*v1.Namespace).Name, namespace.(*v1.Namespace).UID
		for {
			found, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			if errors.IsNotFound(err) || (err == nil && found.UID != uid) {
				return
			}
			if err := deleter.Delete(ctx, name); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	// An object that the filter takes from its second version on is added, too.
	factory.Core().V1().Namespaces().Informer().AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: isDeleted,
		Handler:    cache.ResourceEventHandlerFuncs{AddFunc: func(namespace any) { go empty(namespace) }},
	})
	// With a logger of their own: the program has not set up klog's yet, and while it does, that is
	// nil for a moment.
	factory.StartWithContext(logr.NewContext(ctx, logr.Discard()))
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: controlplane etcd|kube-apiserver|kube-controller-manager [flags]")
	os.Exit(2)
}
