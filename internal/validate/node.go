package validate

import (
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var nodeRules = &rules{ // never changed
	create:       rule(node),
	update:       change(nodeUpdate),
	subresources: subresources{"status": change(nodeUpdate)},
	warnings:     warning(nodeWarnings),
}

func node(e *problems, n *corev1.Node) {
	taints(e, n.Spec.Taints, metadata.Child("taints"))
	nodeResources(e, n)
	podCIDRs(e, n)
}

func taints(e *problems, list []corev1.Taint, at *field.Path) {
	for i := range list {
		t, at := &list[i], at.Index(i)
		e.check(at, "key", t.Key, validation.IsQualifiedName)
		if texts := validation.IsValidLabelValue(t.Value); len(texts) > 0 {
			e.texts(at.Child("value"), t.Value, texts)
		}
		if t.Effect == "" {
			e.required(at.Child("effect"), "")
		} else {
			oneOf(e, at, "effect", t.Effect, taintEffects...)
		}
		if slices.ContainsFunc(list[:i], func(o corev1.Taint) bool { return o.Key == t.Key && o.Effect == t.Effect }) {
			err := field.Duplicate(at, t)
			err.Detail = "taints must be unique by key and effect pair"
			e.add(err)
		}
	}
}

func nodeResources(e *problems, n *corev1.Node) {
	for _, l := range []struct {
		name string
		list corev1.ResourceList
	}{{"capacity", n.Status.Capacity}, {"allocatable", n.Status.Allocatable}} {
		for name, q := range ordered(l.list) {
			at := statusPath.Child(l.name, string(name))
			quantity(e, name, q, at)
		}
	}
}

func podCIDRs(e *problems, n *corev1.Node) {
	list, at := n.Spec.PodCIDRs, specPath.Child("podCIDRs")
	if len(list) == 0 {
		return
	}
	if n.Spec.PodCIDR != "" && n.Spec.PodCIDR != list[0] {
		e.invalid(at.Index(0), list[0], "must match `podCIDR`")
	}
	for i, c := range list {
		e.all(e.cidr(at.Index(i), c))
		e.warnCIDR(at.Index(i), c)
	}
	if len(list) > 2 || len(list) == 2 && list[0] == list[1] {
		e.invalid(at, list, "may specify no more than one CIDR for each IP family")
	}
}

const longestFeature = 253

var featureName = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*(/[a-zA-Z0-9]+)*$`) // never changed

func nodeUpdate(e *problems, n, old *corev1.Node) {
	taints(e, n.Spec.Taints, metadata.Child("taints"))
	nodeResources(e, n)
	for i, name := range n.Status.DeclaredFeatures {
		if i > 0 && name < n.Status.DeclaredFeatures[i-1] {
			e.invalid(statusPath.Child("declaredFeatures").Index(i), name, "list must be sorted alphabetically")
		}
		if slices.Contains(n.Status.DeclaredFeatures[:i], name) {
			e.add(field.Duplicate(statusPath.Child("declaredFeatures").Index(i), name))
		}
		if len(name) > longestFeature {
			e.invalid(statusPath.Child("declaredFeatures").Index(i), name, fmt.Sprintf("invalid feature name %q: %s", name, validation.MaxLenError(longestFeature)))
		} else if !featureName.MatchString(name) {
			e.invalid(statusPath.Child("declaredFeatures").Index(i), name, fmt.Sprintf("invalid feature name %q: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", name))
		}
	}
	for i, a := range n.Status.Addresses {
		if slices.Contains(n.Status.Addresses[:i], a) {
			e.add(field.Duplicate(statusPath.Child("addresses").Index(i), struct { // as Go has it
				Type    corev1.NodeAddressType
				Address string
			}{a.Type, a.Address}))
		}
	}
	if len(old.Spec.PodCIDRs) > 0 {
		if !slices.Equal(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
			e.forbidden(specPath.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid")
		}
	}
	podCIDRs(e, n)
	if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		e.forbidden(specPath.Child("providerID"), "node updates may not change providerID except from \"\" to valid")
	}
	if n.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		e.forbidden(specPath.Child("externalID"), "may not be updated")
	}
}

func nodeWarnings(n, _ *corev1.Node) []string {
	var out []string
	if n.Spec.ConfigSource != nil {
		out = append(out, fmt.Sprintf("%s: the feature is no longer supported", specPath.Child("configSource")))
	}
	if n.Spec.DoNotUseExternalID != "" {
		out = append(out, fmt.Sprintf("%s: this field is deprecated, and is unused by Kubernetes", specPath.Child("externalID")))
	}
	return out
}
