package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

//go:embed testdata/*.yaml
var manifests embed.FS

const namespace = "compare"

// seen is what a client can list, that of the cluster only where it is not
// that of one installation.
var seen = []schema.GroupVersionResource{
	{Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "events"}, {Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "endpoints"}, {Version: "v1", Resource: "serviceaccounts"}, {Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "replicationcontrollers"}, {Version: "v1", Resource: "resourcequotas"}, {Version: "v1", Resource: "persistentvolumeclaims"},
	{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "replicasets"},
	{Group: "apps", Version: "v1", Resource: "statefulsets"}, {Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "apps", Version: "v1", Resource: "controllerrevisions"},
	{Group: "batch", Version: "v1", Resource: "jobs"}, {Group: "batch", Version: "v1", Resource: "cronjobs"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
}

var clusterWide = []schema.GroupVersionResource{
	{Version: "v1", Resource: "nodes"}, {Version: "v1", Resource: "namespaces"},
	{Group: "scheduling.k8s.io", Version: "v1", Resource: "priorityclasses"},
	{Group: "networking.k8s.io", Version: "v1", Resource: "servicecidrs"}, {Group: "networking.k8s.io", Version: "v1", Resource: "ipaddresses"},
	{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
}

func record(ctx context.Context, kubeconfig string, long time.Duration, out string) (err error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS = -1
	k, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	nodes, err := k.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 1 {
		return errors.Join(err, fmt.Errorf("a cluster of one node is wanted, this one has %d", len(nodes.Items)))
	}
	node := nodes.Items[0].Name
	if _, err := k.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, k.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), namespace, metav1.DeleteOptions{}))
	}()
	if err := makeAll(ctx, k.Discovery(), d, node); err != nil {
		return err
	}
	watched, end := context.WithTimeout(ctx, long)
	defer end()
	<-watched.Done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var lines []string
	add := func(r schema.GroupVersionResource, in string) error {
		all, err := d.Resource(r).Namespace(in).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			lines = append(lines, r.Resource+": not served")
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.Resource, err)
		}
		lines = append(lines, flatten(r.Resource, all.Items, node)...)
		return nil
	}
	for _, r := range seen {
		if err := add(r, namespace); err != nil {
			return err
		}
	}
	for _, r := range clusterWide {
		if err := add(r, ""); err != nil {
			return err
		}
	}
	return os.WriteFile(out, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// makeAll creates what the manifests hold. What is refused is told, and goes on.
func makeAll(ctx context.Context, served discovery.DiscoveryInterface, d dynamic.Interface, node string) error {
	groups, err := restmapper.GetAPIGroupResources(served)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	files, err := fs.Glob(manifests, "testdata/*.yaml")
	if err != nil {
		return err
	}
	for _, name := range files {
		text, err := manifests.ReadFile(name)
		if err != nil {
			return err
		}
		for doc := range strings.SplitSeq(strings.ReplaceAll(string(text), "nodeName: NODE", "nodeName: "+node), "\n---\n") {
			o := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			kind := o.GroupVersionKind()
			m, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
			if err != nil {
				return err
			}
			if _, err := d.Resource(m.Resource).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
				fmt.Fprintf(os.Stderr, "%s %s: %v\n", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return nil
}
