package downward

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var pod = &v1.Pod{
	ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u",
		Labels: map[string]string{"b": "2", "a": "1"}, Annotations: map[string]string{"note/x": "two\n\"lines\""}},
	Spec: v1.PodSpec{NodeName: "n", ServiceAccountName: "sa", Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1500m"), v1.ResourceMemory: resource.MustParse("100Mi")},
		Limits:   v1.ResourceList{v1.ResourceMemory: resource.MustParse("200Mi")}}}}},
	Status: v1.PodStatus{PodIP: "1.1.1.1", PodIPs: []v1.PodIP{{IP: "1.1.1.1"}, {IP: "::1"}}, HostIP: "2.2.2.2", HostIPs: []v1.HostIP{{IP: "2.2.2.2"}}},
}

func TestField(t *testing.T) {
	for path, want := range map[string]string{
		"metadata.name": "p", "metadata.namespace": "ns", "metadata.uid": "u",
		"metadata.labels": "a=\"1\"\nb=\"2\"", "metadata.labels['a']": "1", "metadata.labels['none']": "",
		"metadata.annotations":           `note/x="two\n\"lines\""`,
		"metadata.annotations['note/x']": "two\n\"lines\"",
		"spec.nodeName":                  "n", "spec.serviceAccountName": "sa",
		"status.podIP": "1.1.1.1", "status.podIPs": "1.1.1.1,::1", "status.hostIP": "2.2.2.2", "status.hostIPs": "2.2.2.2",
		"spec.containers": "!", "spec['x']": "!", "": "!",
	} {
		got, err := Field(pod, path)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestResource(t *testing.T) {
	node := v1.ResourceList{v1.ResourceCPU: resource.MustParse("4"), v1.ResourceMemory: resource.MustParse("8Gi")}
	for _, c := range []struct{ container, name, divisor, want string }{
		{"", "requests.cpu", "", "2"}, // rounded up
		{"", "requests.cpu", "1m", "1500"},
		{"c", "requests.memory", "1Mi", "100"},
		{"", "limits.memory", "1Ki", "204800"},
		{"", "limits.cpu", "", "4"}, // the node's
		{"", "requests.ephemeral-storage", "", "0"},
		{"other", "requests.cpu", "", "!"},
		{"", "cpu", "", "!"},
	} {
		sel := &v1.ResourceFieldSelector{ContainerName: c.container, Resource: c.name}
		if c.divisor != "" {
			sel.Divisor = resource.MustParse(c.divisor)
		}
		got, err := Resource(pod, sel, "c", node)
		if err != nil {
			got = "!"
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
