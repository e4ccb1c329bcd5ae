package podspec

import (
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Node is what the configurations of all pods share.
type Node struct {
	Name, Hostname string
	IPs            []string
	ClusterDNS     []string
	ClusterDomain  string
	// Resolver is the node's own resolver configuration, for pods that ask for it.
	Resolver Resolver
	// CgroupRoot is above the cgroups of all pods, e.g. "/kubepods".
	CgroupRoot string
	// Unified: the node has cgroup v2.
	Unified bool
	// LogDir is above the log directories of all pods.
	LogDir      string
	SeccompDir  string
	Allocatable v1.ResourceList
	// Memory of the node in bytes, for OOM scores.
	Memory int64
}

// Resolver is the content of a resolv.conf.
type Resolver struct{ Servers, Searches, Options []string }

// Names of labels and annotations on sandboxes and containers; tools such as
// crictl know them.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"

	AnnotationHash     = "io.kubernetes.container.hash"
	AnnotationRestarts = "io.kubernetes.container.restartCount"
	AnnotationTermPath = "io.kubernetes.container.terminationMessagePath"
	AnnotationTermPol  = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationTermFile = "clipper.io/termination-file"
	annotationPodGrace = "io.kubernetes.pod.terminationGracePeriod"
	annotationSource   = "kubernetes.io/config.source"
	ownLabels          = 3
)

// LogDirectory is where the logs of a pod's containers are.
func (n *Node) LogDirectory(pod *v1.Pod) string {
	return filepath.Join(n.LogDir, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}

func labels(pod *v1.Pod) map[string]string {
	m := make(map[string]string, len(pod.Labels)+ownLabels)
	for k, v := range pod.Labels {
		m[k] = v
	}
	m[LabelPodName] = pod.Name
	m[LabelPodNamespace] = pod.Namespace
	m[LabelPodUID] = string(pod.UID)
	return m
}

func unixNano(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
