package validate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var podTemplateRules = &rules{ // never changed
	create: rule(podTemplateObject),
	update: same(podTemplateObject),
	warnings: warning(func(t, old *corev1.PodTemplate) []string {
		if old != nil && sameSpec(&t.Template.Spec, &old.Template.Spec) {
			return nil
		}
		return specWarnings(&t.Template.Spec, field.NewPath("template", "spec"))
	}),
}

func podTemplateObject(e *problems, t *corev1.PodTemplate) {
	podTemplate(e, &t.Template, field.NewPath("template"))
}
