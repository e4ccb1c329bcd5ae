package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// limitRangerAnnotation tells what was set on a pod that did not say itself.
const limitRangerAnnotation = "kubernetes.io/limit-ranger"

// LimitRanger applies a namespace's LimitRanges: defaults for containers that
// leave out their requests or limits, and bounds for all.
type LimitRanger struct{ objects Objects }

// Name implements Plugin.
func (*LimitRanger) Name() string { return "LimitRanger" }

// Admit implements Mutator.
func (p *LimitRanger) Admit(_ context.Context, a *Attributes) error {
	pod := limited(a)
	if pod == nil {
		return nil
	}
	for _, lr := range p.ranges(a.Namespace) {
		defaults := containerDefaults(lr)
		if len(defaults.Requests)+len(defaults.Limits) == 0 {
			continue
		}
		var set []string
		for i := range pod.Spec.Containers {
			set = append(set, fill(&pod.Spec.Containers[i], "container", defaults)...)
		}
		for i := range pod.Spec.InitContainers {
			set = append(set, fill(&pod.Spec.InitContainers[i], "init container", defaults)...)
		}
		if len(set) > 0 {
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			pod.Annotations[limitRangerAnnotation] = "LimitRanger plugin set: " + strings.Join(set, "; ")
		}
	}
	return nil
}

// limited returns the pod whose resources are new, or being resized.
func limited(a *Attributes) *corev1.Pod {
	resizes := a.Operation == Update && a.Subresource == "resize"
	if !resizes && (a.Operation != Create || a.Subresource != "") {
		return nil
	}
	pod, _ := a.Object.(*corev1.Pod)
	return pod
}

// Validate implements Validator.
func (p *LimitRanger) Validate(_ context.Context, a *Attributes) error {
	var check func(*corev1.LimitRange) []error
	switch pod := limited(a); {
	case pod != nil:
		check = func(lr *corev1.LimitRange) []error { return podLimits(lr, pod) }
	case a.Subresource == "" && (a.Operation == Create || a.Operation == Update) && a.Resource.GroupResource() == claims:
		claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
		if !ok {
			return nil
		}
		check = func(lr *corev1.LimitRange) []error { return claimLimits(lr, claim) }
	default:
		return nil
	}
	for _, lr := range p.ranges(a.Namespace) {
		if err := forbiddenAll(a, check(lr)); err != nil {
			return err
		}
	}
	return nil
}

func (p *LimitRanger) ranges(namespace string) []*corev1.LimitRange {
	var all []*corev1.LimitRange
	for _, o := range p.objects.Objects(limitRanges, namespace) {
		if lr, ok := o.(*corev1.LimitRange); ok {
			all = append(all, lr)
		}
	}
	return all
}

func containerDefaults(lr *corev1.LimitRange) corev1.ResourceRequirements {
	d := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	for _, item := range lr.Spec.Limits {
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		for name, q := range item.DefaultRequest {
			d.Requests[name] = q
		}
		for name, q := range item.Default {
			d.Limits[name] = q
		}
	}
	return d
}

// fill sets what the container leaves out and returns what it set.
func fill(c *corev1.Container, kind string, defaults corev1.ResourceRequirements) []string {
	var told []string
	for _, side := range [...]struct {
		name string
		have *corev1.ResourceList
		want corev1.ResourceList
	}{
		{"request", &c.Resources.Requests, defaults.Requests},
		{"limit", &c.Resources.Limits, defaults.Limits},
	} {
		var set []string
		for name, q := range side.want {
			if _, ok := (*side.have)[name]; ok {
				continue
			}
			if *side.have == nil {
				*side.have = corev1.ResourceList{}
			}
			(*side.have)[name] = q.DeepCopy()
			set = append(set, string(name))
		}
		if len(set) > 0 {
			slices.Sort(set)
			told = append(told, fmt.Sprintf("%s %s for %s %s", strings.Join(set, ", "), side.name, kind, c.Name))
		}
	}
	return told
}

// podLimits checks each container, and the pod as a whole.
func podLimits(lr *corev1.LimitRange, pod *corev1.Pod) []error {
	var wrong []error
	for _, item := range lr.Spec.Limits {
		switch item.Type {
		case corev1.LimitTypeContainer:
			for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
				for i := range containers {
					r := &containers[i].Resources
					wrong = append(wrong, within(&item, r.Requests, r.Limits)...)
				}
			}
		case corev1.LimitTypePod:
			requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{ExcludeOverhead: true})
			limits := resourcehelper.PodLimits(pod, resourcehelper.PodResourcesOptions{ExcludeOverhead: true})
			wrong = append(wrong, within(&item, requests, limits)...)
		}
	}
	return wrong
}

func claimLimits(lr *corev1.LimitRange, claim *corev1.PersistentVolumeClaim) []error {
	var wrong []error
	for _, item := range lr.Spec.Limits {
		if item.Type != corev1.LimitTypePersistentVolumeClaim {
			continue
		}
		requests := claim.Spec.Resources.Requests
		for _, name := range sorted(item.Min) {
			bound, have, ok := get(item.Min, requests, name)
			if !ok {
				wrong = append(wrong, fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", name, item.Type, bound.String()))
			} else if have.Cmp(bound) < 0 {
				wrong = append(wrong, fmt.Errorf("minimum %s usage per %s is %s, but request is %s", name, item.Type, bound.String(), have.String()))
			}
		}
		for _, name := range sorted(item.Max) {
			bound, have, ok := get(item.Max, requests, name)
			if !ok {
				wrong = append(wrong, fmt.Errorf("maximum %s usage per %s is %s.  No request is specified", name, item.Type, bound.String()))
			} else if have.Cmp(bound) > 0 {
				wrong = append(wrong, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, item.Type, bound.String(), have.String()))
			}
		}
	}
	return wrong
}

// within checks requests and limits against an item's bounds.
func within(item *corev1.LimitRangeItem, requests, limits corev1.ResourceList) []error {
	var wrong []error
	for _, name := range sorted(item.Min) {
		bound, request, requested := get(item.Min, requests, name)
		limit, limited := limits[name]
		switch {
		case !requested:
			wrong = append(wrong, fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", name, item.Type, bound.String()))
		case request.Cmp(bound) < 0:
			wrong = append(wrong, fmt.Errorf("minimum %s usage per %s is %s, but request is %s", name, item.Type, bound.String(), request.String()))
		case limited && limit.Cmp(bound) < 0:
			wrong = append(wrong, fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", name, item.Type, bound.String(), limit.String()))
		}
	}
	for _, name := range sorted(item.Max) {
		bound, limit, limited := get(item.Max, limits, name)
		request, requested := requests[name]
		switch {
		case !limited:
			wrong = append(wrong, fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", name, item.Type, bound.String()))
		case limit.Cmp(bound) > 0:
			wrong = append(wrong, fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", name, item.Type, bound.String(), limit.String()))
		case requested && request.Cmp(bound) > 0:
			wrong = append(wrong, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, item.Type, bound.String(), request.String()))
		}
	}
	for _, name := range sorted(item.MaxLimitRequestRatio) {
		bound := item.MaxLimitRequestRatio[name]
		request, requested := requests[name]
		limit, limited := limits[name]
		switch {
		case !requested || request.IsZero():
			wrong = append(wrong, fmt.Errorf("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, item.Type, bound.String()))
		case !limited || limit.IsZero():
			wrong = append(wrong, fmt.Errorf("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, item.Type, bound.String()))
		default:
			if ratio := limit.AsApproximateFloat64() / request.AsApproximateFloat64(); ratio > bound.AsApproximateFloat64() {
				wrong = append(wrong, fmt.Errorf("%s max limit to request ratio per %s is %s, but provided ratio is %f", name, item.Type, bound.String(), ratio))
			}
		}
	}
	return wrong
}

func get(bounds, have corev1.ResourceList, name corev1.ResourceName) (bound, q resource.Quantity, ok bool) {
	q, ok = have[name]
	return bounds[name], q, ok
}

// sorted returns the names in an order, so that messages stay the same.
func sorted(l corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(l))
	for n := range l {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
