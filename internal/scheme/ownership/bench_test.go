package ownership

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"clipper/internal/scheme"
)

const podYAML = `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web, pod-template-hash: 5d8c}, generateName: web-,
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: u, controller: true}]}
spec:
  containers:
  - {name: c, image: "nginx:1", env: [{name: A, value: "1"}, {name: B, value: "2"}], ports: [{containerPort: 80}, {containerPort: 443}],
     resources: {requests: {cpu: 100m, memory: 1Gi}}, volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, emptyDir: {}}]
status:
  phase: Running
  podIPs: [{ip: 10.0.0.1}]
  conditions: [{type: Ready, status: "True"}, {type: Initialized, status: "True"}, {type: ContainersReady, status: "True"}]
  containerStatuses: [{name: c, image: i, imageID: i, containerID: x, restartCount: 0, ready: true}]
`

func aPod(b testing.TB, table *scheme.Table) (*scheme.Resource, *corev1.Pod) {
	r := table.ByPath("", "v1", "pods")
	obj, _, err := table.Decode([]byte(podYAML), scheme.YAML, r.GroupVersionKind(), scheme.Strict)
	if err != nil {
		b.Fatal(err)
	}
	r.Default(obj)
	return r, obj.(*corev1.Pod)
}

func BenchmarkPod(b *testing.B) {
	table := scheme.New()
	tr := New(table)
	r, pod := aPod(b, table)
	w := Write{Resource: r, Manager: "m", Time: noon}
	if err := tr.Update(w, nil, pod); err != nil {
		b.Fatal(err)
	}
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pod.ManagedFields = nil
			if err := tr.Update(w, nil, pod); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("update", func(b *testing.B) {
		next := pod.DeepCopy()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			next.ManagedFields = nil
			next.Labels["app"] = fmt.Sprint(i)
			if err := tr.Update(w, pod, next); err != nil {
				b.Fatal(err)
			}
		}
	})
	status := w
	status.Subresource, status.Manager = "status", "kubelet"
	written := pod.DeepCopy()
	written.Status.Conditions[0].Message = "m"
	pod.Status = corev1.PodStatus{}
	if err := tr.Update(status, pod, written); err != nil {
		b.Fatal(err)
	}
	b.Run("status", func(b *testing.B) {
		next := written.DeepCopy()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			next.ManagedFields = nil
			next.Status.Conditions[0].Message = fmt.Sprint(i)
			next.Status.ContainerStatuses[0].RestartCount = int32(i)
			if err := tr.Update(status, written, next); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nothing", func(b *testing.B) {
		next := written.DeepCopy()
		b.ReportAllocs()
		for b.Loop() {
			if err := tr.Update(w, written, next); err != nil {
				b.Fatal(err)
			}
		}
	})
	// What it would cost through the library.
	b.Run("library/status", func(b *testing.B) {
		k := kindOf{table, r}
		m, err := managedfields.NewDefaultFieldManager(converter{tr}, k, k, k, r.GroupVersionKind(), r.GroupVersionKind().GroupVersion(), "status", nil)
		if err != nil {
			b.Fatal(err)
		}
		next := written.DeepCopy()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			next.ManagedFields = nil
			next.Status.ContainerStatuses[0].RestartCount = int32(i)
			if _, err := m.Update(written, next, "kubelet"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
