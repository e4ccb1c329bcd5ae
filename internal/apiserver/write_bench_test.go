package apiserver_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"clipper/internal/auth"
	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apiserver/pkg/authentication/user"
)

// BenchmarkWrites is what the server itself does for a write of a component,
// without network or client: mostly the decoding, ownership, the store.
func BenchmarkWrites(b *testing.B) {
	h := start(b).server.Handler()
	ctx := auth.WithUser(b.Context(), &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}})
	do := func(b *testing.B, method, path string, body []byte) {
		r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		r.RemoteAddr = "in-process"
		r.Header["Accept"] = []string{runtime.ContentTypeProtobuf}
		r.Header["Content-Type"] = []string{runtime.ContentTypeProtobuf}
		r.Header["User-Agent"] = []string{"bench/1"}
		w := &sink{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.code/100 != 2 {
			b.Fatal(method, path, w.code)
		}
	}
	encode := func(b *testing.B, o runtime.Object) []byte {
		body, err := scheme.Encode(nil, scheme.Protobuf, o)
		if err != nil {
			b.Fatal(err)
		}
		return body
	}
	n := 0
	name := func() string { n++; return fmt.Sprint("n", n) }
	pod := func() *corev1.Pod {
		p := aPod(name(), "n")
		p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		p.Namespace, p.Labels = "default", map[string]string{"app": "web", "pod-template-hash": "5d8c"}
		c := &p.Spec.Containers[0]
		c.Env = []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80}, {ContainerPort: 443}}
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}}
		return p
	}
	aMap := func() *corev1.ConfigMap {
		m := aKiB(name())
		m.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
		return m
	}
	const maps, pods = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/pods"
	loop := func(name string, f func(b *testing.B, i int) (method, path string, o runtime.Object)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				method, path, o := f(b, i)
				body := encode(b, o)
				b.StartTimer()
				do(b, method, path, body)
			}
		})
	}
	loop("configmap/create", func(b *testing.B, i int) (string, string, runtime.Object) { return "POST", maps, aMap() })
	loop("pod/create", func(b *testing.B, i int) (string, string, runtime.Object) { return "POST", pods, pod() })
	m, p := aMap(), pod()
	do(b, "POST", maps, encode(b, m))
	do(b, "POST", pods, encode(b, p))
	loop("configmap/update", func(b *testing.B, i int) (string, string, runtime.Object) {
		m.Data["i"] = fmt.Sprint(i)
		return "PUT", maps + "/" + m.Name, m
	})
	loop("pod/update", func(b *testing.B, i int) (string, string, runtime.Object) {
		p.Labels["i"] = fmt.Sprint(i)
		return "PUT", pods + "/" + p.Name, p
	})
	loop("pod/status", func(b *testing.B, i int) (string, string, runtime.Object) {
		p.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}, HostIP: "10.1.0.1",
			Conditions: []corev1.PodCondition{
				{Type: "Initialized", Status: "True"}, {Type: "PodScheduled", Status: "True"},
				{Type: "ContainersReady", Status: corev1.ConditionStatus([]string{"True", "False"}[i%2])},
				{Type: "Ready", Status: corev1.ConditionStatus([]string{"True", "False"}[i%2])},
			},
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "c", Ready: i%2 == 0, RestartCount: int32(i), Image: "i", ImageID: "i", ContainerID: "x",
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(int64(i), 0))}},
			}},
		}
		return "PUT", pods + "/" + p.Name + "/status", p
	})
}
