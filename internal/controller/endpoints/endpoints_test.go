package endpoints

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(c), NewMirror(c)}
	})
}

// Every pod that serves a port is listed once, however many there are, up to
// the limit; subsets differ in their ports.
func TestBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "a"}}
		s.Spec.Ports = []corev1.ServicePort{{Name: "a", Port: 80, TargetPort: intstr.FromString("x")}}
		var pods []*corev1.Pod
		ready, other := 0, 0
		for i := range rapid.IntRange(0, 1200).Draw(t, "pods") {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}}
			p.Status.PodIP = fmt.Sprintf("10.0.%d.%d", i/256, i%256)
			p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "x", ContainerPort: int32(8000 + i%3)}}}}
			if i%5 == 0 {
				other++
			} else {
				ready++
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			}
			pods = append(pods, p)
		}
		e := build(s, pods, time.Time{})
		gotReady, gotOther := 0, 0
		seen := map[string]bool{}
		for _, sub := range e.Subsets {
			if name := portsName(sub.Ports); seen[name] {
				t.Fatalf("two subsets have ports %s", name)
			} else {
				seen[name] = true
			}
			gotReady += len(sub.Addresses)
			gotOther += len(sub.NotReadyAddresses)
		}
		if gotReady != min(ready, most) || gotOther != min(other, most-gotReady) {
			t.Fatalf("lists %d ready of %d and %d others of %d", gotReady, ready, gotOther, other)
		}
		if cut := e.Annotations[corev1.EndpointsOverCapacity] != ""; cut != (ready+other > most) {
			t.Fatalf("over capacity is %v for %d", cut, ready+other)
		}
	})
}
