package informer

import (
	"fmt"

	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	informersv1 "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// NodePods returns an informer of the pods that are bound to a node: what its
// kubelet works on. Whoever calls runs it.
func NodePods(table *scheme.Table, source Source, node string) cache.SharedIndexInformer {
	row := table.ByGVR(corev1.SchemeGroupVersion.WithResource("pods"))
	return fromFeed(source(row, "", nil, onNode(node)), row).new(nil, 0)
}

// RemoteNodePods is NodePods over the network.
func RemoteNodePods(client kubernetes.Interface, node string) cache.SharedIndexInformer {
	pods := informersv1.NewFilteredPodInformer(client, metav1.NamespaceAll, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(o *metav1.ListOptions) { o.FieldSelector = onNode(node).String() })
	if err := pods.SetTransform(withoutOwners); err != nil {
		panic(fmt.Sprintf("pods of node %s: %v", node, err)) // only an informer that runs refuses
	}
	return pods
}

func onNode(node string) fields.Selector {
	return fields.OneTermEqualSelector("spec.nodeName", node)
}
