package table

import (
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

var (
	paramKind  = text("ParamKind", "What parameterizes the policy.")
	policyName = text("PolicyName", "The policy that is bound.")
	paramRef   = text("ParamRef", "The parameters that it is bound to.")
	webhooks   = integer("Webhooks", "How many webhooks are configured.")
)

func paramKindOf(k *admissionregistrationv1.ParamKind) string {
	if k == nil {
		return unset
	}
	return k.APIVersion + "/" + k.Kind
}

func paramRefOf(r *admissionregistrationv1.ParamRef) string {
	switch {
	case r == nil:
		return unset
	case r.Selector != nil:
		return r.Selector.String()
	case r.Namespace == "":
		return "*/" + r.Name
	}
	return r.Namespace + "/" + r.Name
}

var mutatingAdmissionPolicy = show(
	columns(name, integer("Mutations", "How many mutations the policy makes."), paramKind, age),
	func(now time.Time, p *admissionregistrationv1.MutatingAdmissionPolicy) []any {
		return []any{p.Name, int64(len(p.Spec.Mutations)), paramKindOf(p.Spec.ParamKind), since(now, p.CreationTimestamp)}
	},
)

var mutatingAdmissionPolicyBinding = show(
	columns(name, policyName, paramRef, age),
	func(now time.Time, b *admissionregistrationv1.MutatingAdmissionPolicyBinding) []any {
		return []any{b.Name, b.Spec.PolicyName, paramRefOf(b.Spec.ParamRef), since(now, b.CreationTimestamp)}
	},
)

var mutatingWebhookConfiguration = show(
	columns(name, webhooks, age),
	func(now time.Time, c *admissionregistrationv1.MutatingWebhookConfiguration) []any {
		return []any{c.Name, int64(len(c.Webhooks)), since(now, c.CreationTimestamp)}
	},
)

var validatingAdmissionPolicy = show(
	columns(name, integer("Validations", "How many rules the policy has."), paramKind, age),
	func(now time.Time, p *admissionregistrationv1.ValidatingAdmissionPolicy) []any {
		return []any{p.Name, int64(len(p.Spec.Validations)), paramKindOf(p.Spec.ParamKind), since(now, p.CreationTimestamp)}
	},
)

var validatingAdmissionPolicyBinding = show(
	columns(name, policyName, paramRef, age),
	func(now time.Time, b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) []any {
		return []any{b.Name, b.Spec.PolicyName, paramRefOf(b.Spec.ParamRef), since(now, b.CreationTimestamp)}
	},
)

var validatingWebhookConfiguration = show(
	columns(name, webhooks, age),
	func(now time.Time, c *admissionregistrationv1.ValidatingWebhookConfiguration) []any {
		return []any{c.Name, int64(len(c.Webhooks)), since(now, c.CreationTimestamp)}
	},
)
