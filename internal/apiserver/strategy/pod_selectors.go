package strategy

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// selectAlike adds to the selectors of a new pod's constraints and affinities
// what their matchLabelKeys and mismatchLabelKeys name: the values that the
// pod's own labels have now (KEP-3243, KEP-3633). Labels that change later
// change no selector.
func selectAlike(p *corev1.Pod) {
	for i := range p.Spec.TopologySpreadConstraints {
		c := &p.Spec.TopologySpreadConstraints[i]
		withLabels(c.LabelSelector, c.MatchLabelKeys, p.Labels, metav1.LabelSelectorOpIn)
	}
	a := p.Spec.Affinity
	if a == nil {
		return
	}
	if a.PodAffinity != nil {
		alikeTerms(p, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a.PodAntiAffinity != nil {
		alikeTerms(p, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func alikeTerms(p *corev1.Pod, must []corev1.PodAffinityTerm, should []corev1.WeightedPodAffinityTerm) {
	term := func(t *corev1.PodAffinityTerm) {
		withLabels(t.LabelSelector, t.MatchLabelKeys, p.Labels, metav1.LabelSelectorOpIn)
		withLabels(t.LabelSelector, t.MismatchLabelKeys, p.Labels, metav1.LabelSelectorOpNotIn)
	}
	for i := range must {
		term(&must[i])
	}
	for i := range should {
		term(&should[i].PodAffinityTerm)
	}
}

// withLabels leaves keys that the pod does not have, and constraints without a
// selector, which select nothing and are refused later.
func withLabels(s *metav1.LabelSelector, keys []string, labels map[string]string, op metav1.LabelSelectorOperator) {
	if s == nil {
		return
	}
	for _, k := range keys {
		if v, ok := labels[k]; ok {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: k, Operator: op, Values: []string{v}})
		}
	}
}
