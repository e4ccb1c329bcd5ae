package validate

import (
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var runtimeClassRules = &rules{ // never changed
	create: rule(runtimeClass),
	update: change(func(e *problems, c, old *nodev1.RuntimeClass) {
		runtimeClass(e, c)
		e.immutable(nil, "handler", c.Handler, c.Handler == old.Handler)
	}),
}

func runtimeClass(e *problems, c *nodev1.RuntimeClass) {
	e.checked(nil, "handler", c.Handler, dnsLabel)
	if c.Overhead != nil {
		quantities(e, c.Overhead.PodFixed, field.NewPath("overhead", "limits"), containerResource)
	}
	if s := c.Scheduling; s != nil {
		at := field.NewPath("scheduling")
		e.all(metavalidation.ValidateLabels(s.NodeSelector, at.Child("nodeSelector")))
		tolerations(e, s.Tolerations, at.Child("tolerations"))
		for i := range s.Tolerations {
			for j := range s.Tolerations[:i] {
				if equality.Semantic.DeepEqual(s.Tolerations[i], s.Tolerations[j]) {
					e.add(field.Duplicate(at.Child("tolerations").Index(i), tolerationShown(s.Tolerations[i])))
				}
			}
		}
	}
}

// tolerationShown is a toleration as upstream shows it: with all fields, under their names in Go.
type tolerationShown struct {
	Key               string
	Operator          corev1.TolerationOperator
	Value             string
	Effect            corev1.TaintEffect
	TolerationSeconds *int64
}
