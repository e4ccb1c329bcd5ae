package strategy_test

import (
	"testing"

	"clipper/internal/apiserver/strategy"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestSpecAndStatus(t *testing.T) {
	s := strategy.New()[schema.GroupResource{Group: "apps", Resource: "deployments"}]
	n := func(i int32) *int32 { return &i }
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: n(1)}, Status: appsv1.DeploymentStatus{Replicas: 9}}
	s.Create(d)
	if d.Generation != 1 || d.Status.Replicas != 0 {
		t.Errorf("%+v", d)
	}
	d.Status.Replicas = 1
	same := d.DeepCopy()
	same.Status.Replicas, same.Labels = 7, map[string]string{"a": "b"}
	s.Update(same, d)
	if same.Generation != 1 || same.Status.Replicas != 1 || same.Labels["a"] != "b" {
		t.Errorf("%+v", same)
	}
	more := d.DeepCopy()
	more.Spec.Replicas = n(2)
	s.Update(more, d)
	if more.Generation != 2 {
		t.Errorf("%+v", more)
	}
	status := d.DeepCopy()
	status.Spec.Replicas, status.Status.Replicas, status.Labels = n(5), 5, map[string]string{"a": "b"}
	s.Sub["status"](status, d)
	if *status.Spec.Replicas != 1 || status.Status.Replicas != 5 || len(status.Labels) != 0 {
		t.Errorf("%+v", status)
	}
	if sc := s.Scale.Get(more); sc.Spec.Replicas != 2 || sc.Status.Replicas != 1 {
		t.Errorf("%+v", sc)
	}
}

func TestPodGrace(t *testing.T) {
	grace := strategy.New()[schema.GroupResource{Resource: "pods"}].Grace
	n := func(i int64) *int64 { return &i }
	running := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", TerminationGracePeriodSeconds: n(7)}}
	done := running.DeepCopy()
	done.Status.Phase = corev1.PodSucceeded
	for name, x := range map[string]struct {
		pod   *corev1.Pod
		asked *int64
		want  int64
	}{
		"as the pod says": {running, nil, 7}, "as asked": {running, n(3), 3}, "at once": {running, n(0), 0},
		"negative": {running, n(-5), 1}, "nowhere": {&corev1.Pod{}, nil, 0}, "done": {done, n(9), 0},
	} {
		if got := grace(x.pod, x.asked); got != x.want {
			t.Errorf("%s: %d, want %d", name, got, x.want)
		}
	}
}

// TestServiceUpdates puts manifests that state nothing of what was allocated.
func TestServiceUpdates(t *testing.T) {
	update := strategy.New()[schema.GroupResource{Resource: "services"}].Update
	policy := corev1.IPFamilyPolicySingleStack
	old := &corev1.Service{Spec: corev1.ServiceSpec{
		ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyCluster,
		Type:                  corev1.ServiceTypeNodePort, ClusterIP: "10.0.0.5", ClusterIPs: []string{"10.0.0.5"},
		IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: &policy,
		Ports: []corev1.ServicePort{{Name: "a", Port: 80, Protocol: "TCP", NodePort: 30001}, {Name: "b", Port: 80, Protocol: "UDP", NodePort: 30001}, {Name: "c", Port: 81, Protocol: "TCP", NodePort: 30002}},
	}}
	for name, x := range map[string]struct {
		t     corev1.ServiceType
		ports []corev1.ServicePort
		want  []int32
		ip    string
	}{
		"same":            {corev1.ServiceTypeNodePort, []corev1.ServicePort{{Name: "c", Port: 88, Protocol: "TCP"}, {Name: "a", Port: 80, Protocol: "TCP"}}, []int32{30002, 30001}, "10.0.0.5"},
		"claimed":         {corev1.ServiceTypeNodePort, []corev1.ServicePort{{Name: "a", Port: 80, Protocol: "TCP"}, {Name: "d", Port: 82, Protocol: "TCP", NodePort: 30001}}, []int32{0, 30001}, "10.0.0.5"},
		"two protocols":   {corev1.ServiceTypeNodePort, []corev1.ServicePort{{Name: "a", Port: 80, Protocol: "TCP"}, {Name: "b", Port: 80, Protocol: "UDP"}}, []int32{30001, 30001}, "10.0.0.5"},
		"no node ports":   {corev1.ServiceTypeClusterIP, []corev1.ServicePort{{Port: 80, Protocol: "TCP", NodePort: 30001}}, []int32{0}, "10.0.0.5"},
		"no address":      {corev1.ServiceTypeExternalName, nil, nil, ""},
		"a new number":    {corev1.ServiceTypeNodePort, []corev1.ServicePort{{Port: 80, Protocol: "TCP", NodePort: 30009}}, []int32{30009}, "10.0.0.5"},
		"another name":    {corev1.ServiceTypeNodePort, []corev1.ServicePort{{Name: "d", Port: 80, Protocol: "TCP"}}, []int32{0}, "10.0.0.5"},
		"a load balancer": {corev1.ServiceTypeLoadBalancer, []corev1.ServicePort{{Name: "a", Port: 80, Protocol: "TCP"}}, []int32{30001}, "10.0.0.5"},
	} {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Type: x.t, Ports: x.ports}}
		svc.Spec.ExternalTrafficPolicy = old.Spec.ExternalTrafficPolicy
		update(svc, old)
		if outside := x.t == corev1.ServiceTypeNodePort || x.t == corev1.ServiceTypeLoadBalancer; outside != (svc.Spec.ExternalTrafficPolicy != "") {
			t.Errorf("%s: external traffic policy %q", name, svc.Spec.ExternalTrafficPolicy)
		}
		var ports []int32
		for _, p := range svc.Spec.Ports {
			ports = append(ports, p.NodePort)
		}
		if d := cmp.Diff(x.want, ports); d != "" || svc.Spec.ClusterIP != x.ip {
			t.Errorf("%s: %s %s", name, svc.Spec.ClusterIP, d)
		}
	}
}

// TestNamespaceStatus writes through the subresource what it may and may not.
func TestNamespaceStatus(t *testing.T) {
	old := &corev1.Namespace{Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}}}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": "b"}}}
	ns.Status.Conditions = []corev1.NamespaceCondition{{Type: "Patched"}}
	strategy.New()[schema.GroupResource{Resource: "namespaces"}].Sub["status"](ns, old)
	if ns.Annotations["a"] != "b" || len(ns.Status.Conditions) != 1 || len(ns.Spec.Finalizers) != 1 {
		t.Errorf("%+v", ns)
	}
}
