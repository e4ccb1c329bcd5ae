package validate

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

var ingressClassRules = &rules{ // never changed
	create: rule(ingressClass),
	update: change(func(e *problems, c, old *networkingv1.IngressClass) {
		e.immutable(specPath, "controller", c.Spec.Controller, c.Spec.Controller == old.Spec.Controller)
		ingressClass(e, c)
	}),
}

const longestIngressController = 250

func ingressClass(e *problems, c *networkingv1.IngressClass) {
	e.notLonger(specPath.Child("controller"), c.Spec.Controller, longestIngressController)
	e.all(validation.IsDomainPrefixedPath(specPath.Child("controller"), c.Spec.Controller))
	p, at := c.Spec.Parameters, specPath.Child("parameters")
	if p == nil {
		return
	}
	localReference(e, p.APIGroup, p.Kind, p.Name, at)
	if p.Scope == nil {
		e.required(at.Child("scope"), "")
		return
	}
	switch *p.Scope {
	case networkingv1.IngressClassParametersReferenceScopeNamespace:
		if p.Namespace == nil {
			e.required(at.Child("namespace"), "`parameters.scope` is set to 'Namespace'")
		} else {
			e.check(at, "namespace", *p.Namespace, dnsLabel)
		}
	case networkingv1.IngressClassParametersReferenceScopeCluster:
		if p.Namespace != nil {
			e.forbidden(at.Child("namespace"), "`parameters.scope` is set to 'Cluster'")
		}
	default:
		oneOf(e, at, "scope", *p.Scope, networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace)
	}
}
