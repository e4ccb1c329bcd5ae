package admission

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"
)

// DefaultIngressClass gives an Ingress that names no class the default one.
type DefaultIngressClass struct{ objects Objects }

// Name implements Plugin.
func (*DefaultIngressClass) Name() string { return "DefaultIngressClass" }

// Admit implements Mutator.
func (p *DefaultIngressClass) Admit(_ context.Context, a *Attributes) error {
	if a.Resource.GroupResource() != ingresses || a.Subresource != "" || a.Operation != Create {
		return nil
	}
	ingress, ok := a.Object.(*networkingv1.Ingress)
	if !ok || ingress.Spec.IngressClassName != nil {
		return nil
	}
	// The annotation that there was before the field.
	if _, ok := ingress.Annotations["kubernetes.io/ingress.class"]; ok {
		return nil
	}
	if class := newestDefault[*networkingv1.IngressClass](p.objects, ingressClasses, networkingv1.AnnotationIsDefaultIngressClass); class != nil {
		name := class.GetName()
		ingress.Spec.IngressClassName = &name
	}
	return nil
}
