package scheme

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func defaultMatch(m *admissionregistrationv1.MatchResources) {
	if m == nil {
		return
	}
	point(&m.MatchPolicy, admissionregistrationv1.Equivalent)
	point(&m.NamespaceSelector, metav1.LabelSelector{})
	point(&m.ObjectSelector, metav1.LabelSelector{})
	for i := range m.ResourceRules {
		defaultScope(&m.ResourceRules[i].Scope)
	}
	for i := range m.ExcludeResourceRules {
		defaultScope(&m.ExcludeResourceRules[i].Scope)
	}
}

func defaultScope(s **admissionregistrationv1.ScopeType) {
	point(s, admissionregistrationv1.AllScopes)
}

func defaultMutatingAdmissionPolicy(p *admissionregistrationv1.MutatingAdmissionPolicy) {
	point(&p.Spec.FailurePolicy, admissionregistrationv1.Fail)
	defaultMatch(p.Spec.MatchConstraints)
}

func defaultValidatingAdmissionPolicy(p *admissionregistrationv1.ValidatingAdmissionPolicy) {
	point(&p.Spec.FailurePolicy, admissionregistrationv1.Fail)
	defaultMatch(p.Spec.MatchConstraints)
}

func defaultMutatingAdmissionPolicyBinding(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) {
	defaultMatch(b.Spec.MatchResources)
}

func defaultValidatingAdmissionPolicyBinding(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
	defaultMatch(b.Spec.MatchResources)
}

// webhook is what the two kinds of webhooks have alike.
type webhook struct {
	failure            **admissionregistrationv1.FailurePolicyType
	match              **admissionregistrationv1.MatchPolicyType
	namespaces, object **metav1.LabelSelector
	timeout            **int32
	client             *admissionregistrationv1.WebhookClientConfig
	rules              []admissionregistrationv1.RuleWithOperations
}

func (w webhook) fill() {
	point(w.failure, admissionregistrationv1.Fail)
	point(w.match, admissionregistrationv1.Equivalent)
	point(w.namespaces, metav1.LabelSelector{})
	point(w.object, metav1.LabelSelector{})
	point(w.timeout, 10)
	if w.client.Service != nil {
		point(&w.client.Service.Port, 443)
	}
	for i := range w.rules {
		defaultScope(&w.rules[i].Scope)
	}
}

func defaultMutatingWebhookConfiguration(c *admissionregistrationv1.MutatingWebhookConfiguration) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		webhook{&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds, &w.ClientConfig, w.Rules}.fill()
		point(&w.ReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
	}
}

func defaultValidatingWebhookConfiguration(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		webhook{&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds, &w.ClientConfig, w.Rules}.fill()
	}
}
