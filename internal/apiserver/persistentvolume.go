package apiserver

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
)

// stampVolume states in a volume since when it is in its phase, unless who
// changed the phase did (KEP-3762).
func stampVolume(o, was runtime.Object, _ user.Info, now metav1.Time) {
	status := &o.(*corev1.PersistentVolume).Status
	if was != nil {
		old := &was.(*corev1.PersistentVolume).Status
		if status.Phase == old.Phase && status.LastPhaseTransitionTime == nil {
			status.LastPhaseTransitionTime = old.LastPhaseTransitionTime // which is not taken away
		}
		if status.Phase == old.Phase || status.LastPhaseTransitionTime != nil && !status.LastPhaseTransitionTime.Equal(old.LastPhaseTransitionTime) {
			return
		}
	}
	status.LastPhaseTransitionTime = &now
}
