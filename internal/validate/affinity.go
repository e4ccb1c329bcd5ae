package validate

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	mustHold   = "requiredDuringSchedulingIgnoredDuringExecution"
	shouldHold = "preferredDuringSchedulingIgnoredDuringExecution"
)

func affinity(e *problems, a *corev1.Affinity, at *field.Path) {
	if n := a.NodeAffinity; n != nil {
		at := at.Child("nodeAffinity")
		if n.RequiredDuringSchedulingIgnoredDuringExecution != nil {
			nodeSelector(e, n.RequiredDuringSchedulingIgnoredDuringExecution, at.Child(mustHold))
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			t, at := &n.PreferredDuringSchedulingIgnoredDuringExecution[i], at.Child(shouldHold).Index(i)
			weight(e, t.Weight, at)
			nodeSelectorTerm(e, &t.Preference, at.Child("preference"))
		}
	}
	if p := a.PodAffinity; p != nil {
		podAffinity(e, p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
	}
	if p := a.PodAntiAffinity; p != nil {
		podAffinity(e, p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
	}
}

func weight(e *problems, w int32, at *field.Path) {
	if w < 1 || w > 100 {
		e.invalid(at.Child("weight"), w, "must be in the range 1-100")
	}
}

func nodeSelector(e *problems, s *corev1.NodeSelector, at *field.Path) {
	at = at.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		e.required(at, "must have at least one node selector term")
	}
	for i := range s.NodeSelectorTerms {
		nodeSelectorTerm(e, &s.NodeSelectorTerms[i], at.Index(i))
	}
}

func nodeSelectorTerm(e *problems, t *corev1.NodeSelectorTerm, at *field.Path) {
	for i := range t.MatchExpressions {
		nodeExpression(e, &t.MatchExpressions[i], at.Child("matchExpressions").Index(i))
	}
	for i := range t.MatchFields {
		nodeField(e, &t.MatchFields[i], at.Child("matchFields").Index(i))
	}
}

func nodeExpression(e *problems, r *corev1.NodeSelectorRequirement, at *field.Path) {
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			e.required(at.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			e.forbidden(at.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			e.required(at.Child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'")
		}
	default:
		e.invalid(at.Child("operator"), r.Operator, "not a valid selector operator")
	}
	e.check(at, "key", r.Key, validation.IsQualifiedName)
	for i, v := range r.Values {
		if texts := validation.IsValidLabelValue(v); len(texts) > 0 {
			e.texts(at.Child("values").Index(i), v, texts)
		}
	}
}

func nodeField(e *problems, r *corev1.NodeSelectorRequirement, at *field.Path) {
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			e.required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
		}
	default:
		e.invalid(at.Child("operator"), r.Operator, "not a valid selector operator")
	}
	if r.Key != metav1.ObjectNameField {
		e.invalid(at.Child("key"), r.Key, "not a valid field selector key")
		return
	}
	for i, v := range r.Values {
		e.texts(at.Child("values").Index(i), v, dnsSubdomain(v))
	}
}

func podAffinity(e *problems, must []corev1.PodAffinityTerm, should []corev1.WeightedPodAffinityTerm, at *field.Path) {
	for i := range must {
		podAffinityTerm(e, &must[i], at.Child(mustHold).Index(i))
	}
	for i := range should {
		at := at.Child(shouldHold).Index(i)
		weight(e, should[i].Weight, at)
		podAffinityTerm(e, &should[i].PodAffinityTerm, at.Child("podAffinityTerm"))
	}
}

func podAffinityTerm(e *problems, t *corev1.PodAffinityTerm, at *field.Path) {
	selector(e, t.LabelSelector, at.Child("labelSelector"))
	selector(e, t.NamespaceSelector, at.Child("namespaceSelector"))
	for _, n := range t.Namespaces {
		if texts := dnsLabel(n); len(texts) > 0 {
			e.texts(at.Child("namespace"), n, texts)
		}
	}
	matchLabelKeys(e, t.MatchLabelKeys, t.LabelSelector, at, "matchLabelKeys")
	matchLabelKeys(e, t.MismatchLabelKeys, t.LabelSelector, at, "mismatchLabelKeys")
	for i, k := range t.MatchLabelKeys {
		if slices.Contains(t.MismatchLabelKeys, k) {
			e.invalid(at.Child("matchLabelKeys").Index(i), k, "exists in both matchLabelKeys and mismatchLabelKeys")
		}
	}
	selectedTwice(e, t.MatchLabelKeys, t.LabelSelector, at)
	topologyKey(e, t.TopologyKey, at)
	if t.TopologyKey == "" {
		e.check(at, "topologyKey", "", validation.IsQualifiedName) // told in both ways here
	}
}

func topologyKey(e *problems, key string, at *field.Path) {
	if key == "" {
		e.required(at.Child("topologyKey"), "can not be empty")
		return
	}
	e.check(at, "topologyKey", key, validation.IsQualifiedName)
}

// selectedTwice refuses keys that a selector had before the pod's own values
// were added to it, which counts one.
func selectedTwice(e *problems, keys []string, s *metav1.LabelSelector, at *field.Path) {
	if s == nil {
		return
	}
	for i, k := range keys {
		n := 0
		if _, has := s.MatchLabels[k]; has {
			n++
		}
		for j := range s.MatchExpressions {
			if s.MatchExpressions[j].Key == k {
				n++
			}
		}
		if n > 1 && !slices.Contains(keys[i+1:], k) {
			e.invalid(at.Index(i), k, "exists in both matchLabelKeys and labelSelector")
		}
	}
}

// matchLabelKeys judges names of a pod's labels that a selector is to have.
func matchLabelKeys(e *problems, keys []string, s *metav1.LabelSelector, at *field.Path, name string) {
	if len(keys) == 0 {
		return
	}
	if s == nil {
		e.forbidden(at.Child(name), "must not be specified when labelSelector is not set")
		return
	}
	for i, k := range keys {
		e.all(metavalidation.ValidateLabelName(k, at.Child(name).Index(i)))
	}
}

func topologySpread(e *problems, list []corev1.TopologySpreadConstraint, at *field.Path) {
	for i := range list {
		c, at := &list[i], at.Index(i)
		if c.MaxSkew <= 0 {
			e.invalid(at.Child("maxSkew"), c.MaxSkew, "must be greater than zero")
		}
		if c.TopologyKey == "" {
			e.required(at.Child("topologyKey"), "can not be empty")
		}
		oneOf(e, at, "whenUnsatisfiable", c.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)
		if slices.ContainsFunc(list[i+1:], func(o corev1.TopologySpreadConstraint) bool {
			return o.TopologyKey == c.TopologyKey && o.WhenUnsatisfiable == c.WhenUnsatisfiable
		}) {
			e.add(field.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", c.TopologyKey, c.WhenUnsatisfiable)))
		}
		if d := c.MinDomains; d != nil {
			if *d <= 0 {
				e.invalid(at.Child("minDomains"), *d, "must be greater than zero")
			}
			if c.WhenUnsatisfiable != corev1.DoNotSchedule {
				e.invalid(at.Child("minDomains"), *d, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, c.WhenUnsatisfiable))
			}
		}
		optionalOneOf(e, at, "nodeAffinityPolicy", c.NodeAffinityPolicy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
		optionalOneOf(e, at, "nodeTaintsPolicy", c.NodeTaintsPolicy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
		matchLabelKeys(e, c.MatchLabelKeys, c.LabelSelector, at, "matchLabelKeys")
		selectedTwice(e, c.MatchLabelKeys, c.LabelSelector, at)
		selector(e, c.LabelSelector, at.Child("labelSelector"))
	}
}

func tolerations(e *problems, list []corev1.Toleration, at *field.Path) {
	for i := range list {
		t, at := &list[i], at.Index(i)
		if t.Key != "" {
			e.check(at, "key", t.Key, validation.IsQualifiedName)
		}
		if t.Key == "" && t.Operator != corev1.TolerationOpExists {
			e.invalid(at.Child("operator"), t.Operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"")
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			e.invalid(at.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
		}
		switch t.Operator {
		case corev1.TolerationOpEqual, "":
			if texts := validation.IsValidLabelValue(t.Value); len(texts) > 0 {
				for _, text := range texts {
					e.invalid(at.Child("operator"), t.Value, text)
				}
			}
		case corev1.TolerationOpExists:
			if t.Value != "" {
				e.invalid(at.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'")
			}
		case corev1.TolerationOpGt, corev1.TolerationOpLt: // which are alpha, and listed nevertheless
			e.add(field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists, corev1.TolerationOpGt, corev1.TolerationOpLt}))
		default:
			e.add(field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		if t.Effect != "" {
			oneOf(e, at, "effect", t.Effect, taintEffects...)
		}
	}
}

var taintEffects = []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute} // never changed
