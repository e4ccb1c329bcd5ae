package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// tolerationSeconds is how long a pod stays on a node that went away, unless
// it says otherwise.
const tolerationSeconds = 300

// DefaultTolerationSeconds lets pods stay a while on nodes that are not ready
// or cannot be reached.
type DefaultTolerationSeconds struct{}

// Name implements Plugin.
func (DefaultTolerationSeconds) Name() string { return "DefaultTolerationSeconds" }

// Admit implements Mutator.
func (DefaultTolerationSeconds) Admit(_ context.Context, a *Attributes) error {
	pod := podOf(a, Create, Update)
	if pod == nil {
		return nil
	}
	for _, key := range [...]string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if toleratesNoExecute(pod.Spec.Tolerations, key) {
			continue
		}
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
			Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
			TolerationSeconds: ptr.To[int64](tolerationSeconds),
		})
	}
	return nil
}

func toleratesNoExecute(all []corev1.Toleration, key string) bool {
	for _, t := range all {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
