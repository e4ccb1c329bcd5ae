package strategy

import admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

// Webhook configurations have no spec: all but the metadata is counted.
func admissionRegistration() map[string]*Strategy {
	return map[string]*Strategy{
		"mutatingadmissionpolicies": specOnly(func(p *admissionregistrationv1.MutatingAdmissionPolicy) *admissionregistrationv1.MutatingAdmissionPolicySpec {
			return &p.Spec
		}),
		"mutatingadmissionpolicybindings": specOnly(func(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) *admissionregistrationv1.MutatingAdmissionPolicyBindingSpec {
			return &b.Spec
		}),
		"mutatingwebhookconfigurations": exactly(func(c *admissionregistrationv1.MutatingWebhookConfiguration) *admissionregistrationv1.MutatingWebhookConfiguration {
			return &admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: c.Webhooks}
		}),
		"validatingadmissionpolicies": halves(
			func(p *admissionregistrationv1.ValidatingAdmissionPolicy) *admissionregistrationv1.ValidatingAdmissionPolicySpec {
				return &p.Spec
			},
			func(p *admissionregistrationv1.ValidatingAdmissionPolicy) *admissionregistrationv1.ValidatingAdmissionPolicyStatus {
				return &p.Status
			}, true, keepMeta),
		"validatingadmissionpolicybindings": specOnly(func(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) *admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec {
			return &b.Spec
		}),
		"validatingwebhookconfigurations": exactly(func(c *admissionregistrationv1.ValidatingWebhookConfiguration) *admissionregistrationv1.ValidatingWebhookConfiguration {
			return &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: c.Webhooks}
		}),
	}
}
