package scheme

import admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

func admissionRegistrationRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs, r.Prefix = "admissionregistration.k8s.io", "v1", everyVerb, r.Name
		r.Categories = []string{"api-extensions"}
		return r
	}
	return []*Resource{
		row[admissionregistrationv1.MutatingAdmissionPolicy, admissionregistrationv1.MutatingAdmissionPolicyList](in(Resource{
			Kind: "MutatingAdmissionPolicy", Name: "mutatingadmissionpolicies", Singular: "mutatingadmissionpolicy",
			Default: defaulter(defaultMutatingAdmissionPolicy),
		})),
		row[admissionregistrationv1.MutatingAdmissionPolicyBinding, admissionregistrationv1.MutatingAdmissionPolicyBindingList](in(Resource{
			Kind: "MutatingAdmissionPolicyBinding", Name: "mutatingadmissionpolicybindings", Singular: "mutatingadmissionpolicybinding",
			Default: defaulter(defaultMutatingAdmissionPolicyBinding),
		})),
		row[admissionregistrationv1.MutatingWebhookConfiguration, admissionregistrationv1.MutatingWebhookConfigurationList](in(Resource{
			Kind: "MutatingWebhookConfiguration", Name: "mutatingwebhookconfigurations", Singular: "mutatingwebhookconfiguration",
			Default: defaulter(defaultMutatingWebhookConfiguration),
		})),
		row[admissionregistrationv1.ValidatingAdmissionPolicy, admissionregistrationv1.ValidatingAdmissionPolicyList](in(Resource{
			Kind: "ValidatingAdmissionPolicy", Name: "validatingadmissionpolicies", Singular: "validatingadmissionpolicy",
			Default: defaulter(defaultValidatingAdmissionPolicy), Subresources: []Subresource{status()},
		})),
		row[admissionregistrationv1.ValidatingAdmissionPolicyBinding, admissionregistrationv1.ValidatingAdmissionPolicyBindingList](in(Resource{
			Kind: "ValidatingAdmissionPolicyBinding", Name: "validatingadmissionpolicybindings", Singular: "validatingadmissionpolicybinding",
			Default: defaulter(defaultValidatingAdmissionPolicyBinding),
		})),
		row[admissionregistrationv1.ValidatingWebhookConfiguration, admissionregistrationv1.ValidatingWebhookConfigurationList](in(Resource{
			Kind: "ValidatingWebhookConfiguration", Name: "validatingwebhookconfigurations", Singular: "validatingwebhookconfiguration",
			Default: defaulter(defaultValidatingWebhookConfiguration),
		})),
	}
}
