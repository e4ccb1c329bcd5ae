package validate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var podTemplateRules = &rules{ // never changed
	create: rule(podTemplateObject),
	update: same(podTemplateObject),
}

func podTemplateObject(e *problems, t *corev1.PodTemplate) {
	podTemplate(e, &t.Template, field.NewPath("template"))
}
