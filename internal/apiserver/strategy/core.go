package strategy

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// eventTTL is how long an Event lives after it was last written.
const eventTTL = time.Hour

func core() map[string]*Strategy {
	return map[string]*Strategy{
		"namespaces":             namespace(),
		"nodes":                  node(),
		"pods":                   pod(),
		"services":               service(),
		"replicationcontrollers": replicationController(),
		"endpoints":              {CreateOnUpdate: true},
		"limitranges":            {CreateOnUpdate: true, Create: nameLimits},
		"podtemplates":           podTemplate(),
		"serviceaccounts":        {Create: nameSecrets, Update: func(o, _ runtime.Object) { nameSecrets(o) }},
		"events":                 {CreateOnUpdate: true, TTL: func(runtime.Object) time.Duration { return eventTTL }},
		"resourcequotas": halves(
			func(q *corev1.ResourceQuota) *corev1.ResourceQuotaSpec { return &q.Spec },
			func(q *corev1.ResourceQuota) *corev1.ResourceQuotaStatus { return &q.Status },
			false, nil),
		"persistentvolumes":      persistentVolume(),
		"persistentvolumeclaims": persistentVolumeClaim(),
	}
}

// nameSecrets keeps nothing but the names of an account's secrets.
func nameSecrets(o runtime.Object) {
	a := o.(*corev1.ServiceAccount)
	for i := range a.Secrets {
		a.Secrets[i] = corev1.ObjectReference{Name: a.Secrets[i].Name}
	}
}

// nameLimits names limits that nobody named.
func nameLimits(o runtime.Object) {
	if l := o.(*corev1.LimitRange); l.Name == "" {
		l.Name = string(uuid.NewUUID())
	}
}

func firstGeneration(o runtime.Object) {
	if m, ok := o.(interface{ SetGeneration(int64) }); ok {
		m.SetGeneration(1)
	}
}

func podTemplate() *Strategy {
	return specOnly(func(t *corev1.PodTemplate) *corev1.PodTemplateSpec { return &t.Template })
}
