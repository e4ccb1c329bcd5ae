package security

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testArguments: small manifests that stand for very much are refused where
// they are read, and the node goes on.
func testArguments(t *testing.T, w *world) {
	p := shell("bomb", "exit 0")
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "V0", Value: strings.Repeat("x", 100)}}
	for i := range 30 {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env,
			corev1.EnvVar{Name: fmt.Sprintf("V%d", i+1), Value: strings.Repeat(fmt.Sprintf("$(V%d)", i), 100)})
	}
	message := ""
	w.start(t, p, func(p *corev1.Pod) bool {
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Waiting != nil && s.State.Waiting.Reason == "CreateContainerConfigError" {
				message = s.State.Waiting.Message
			}
		}
		return message != ""
	})
	if !strings.Contains(message, "no program is started with as much") {
		t.Errorf("a bomb of variables: %q", message)
	}

	ctx := t.Context()
	configs := w.client.CoreV1().ConfigMaps("default")
	large := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "large", Annotations: map[string]string{"a": strings.Repeat("x", 256<<10)}}}
	if _, err := configs.Create(ctx, large, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("annotations of more than 256 KiB: %v", err)
	}
	text := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "large"}, StringData: map[string]string{"k": strings.Repeat("x", 1<<20+1)}}
	if _, err := w.client.CoreV1().Secrets("default").Create(ctx, text, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a Secret of more than 1 MiB: %v", err)
	}
	for i, image := range []string{"../../etc/passwd", "a//b", "host/UPPER", "x:" + strings.Repeat("t", 200), "x@sha256:short", "http://host/image", "-v", "a b", "x\ny", strings.Repeat("a/", 2000) + "b"} {
		p := shell(fmt.Sprintf("image-%d", i), "exit 0")
		p.Spec.Containers[0].Image = image
		state := ""
		w.start(t, p, func(p *corev1.Pod) bool {
			for _, s := range p.Status.ContainerStatuses {
				if s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating" {
					state = s.State.Waiting.Reason
				}
			}
			return state != "" || ended(p)
		})
		if state != "InvalidImageName" {
			t.Errorf("image %.40q: %q", image, state)
		}
	}
}
