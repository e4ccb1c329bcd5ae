package validate

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var ipAddressRules = &rules{ // never changed
	name: func(name string, _ bool) (texts []string) {
		for _, err := range validation.IsValidIP(nil, name) {
			texts = append(texts, err.Detail)
		}
		return texts
	},
	create: rule(ipAddress),
	update: change(func(e *problems, a, old *networkingv1.IPAddress) {
		ipAddress(e, a)
		e.immutable(field.NewPath("spec"), "parentRef", a.Spec.ParentRef, sameSpec(a.Spec.ParentRef, old.Spec.ParentRef))
	}),
}

func ipAddress(e *problems, a *networkingv1.IPAddress) {
	at, r := field.NewPath("spec", "parentRef"), a.Spec.ParentRef
	if r == nil {
		e.required(at, "")
		return
	}
	if r.Group != "" {
		e.check(at, "group", r.Group, dnsSubdomain)
	}
	segment(e, at, "resource", r.Resource, "")
	segment(e, at, "name", r.Name, "")
	if r.Namespace != "" {
		segment(e, at, "namespace", r.Namespace, "")
	}
}
