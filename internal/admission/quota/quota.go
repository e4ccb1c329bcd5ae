// Package quota says what an object counts for in a ResourceQuota, and which
// objects a quota covers. Admission charges by it, and the controller that
// shows the usage counts by it.
package quota

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// counted are the resources whose number has a name of its own, besides the
// count/ form that every resource has.
var counted = map[schema.GroupResource]corev1.ResourceName{ // never changed
	{Resource: "configmaps"}:             corev1.ResourceConfigMaps,
	{Resource: "persistentvolumeclaims"}: corev1.ResourcePersistentVolumeClaims,
	{Resource: "replicationcontrollers"}: corev1.ResourceReplicationControllers,
	{Resource: "resourcequotas"}:         corev1.ResourceQuotas,
	{Resource: "secrets"}:                corev1.ResourceSecrets,
	{Resource: "services"}:               corev1.ResourceServices,
}

// CountName returns the name that counts objects of a resource, such as
// "count/deployments.apps".
func CountName(r schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName("count/" + r.String())
}

// Usage returns all that an object counts for. The time matters to pods that
// outlive their deletion.
func Usage(r schema.GroupResource, obj runtime.Object, now time.Time) corev1.ResourceList {
	u := corev1.ResourceList{CountName(r): one()}
	if name, ok := counted[r]; ok {
		u[name] = one()
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		if Counts(o, now) {
			maps.Copy(u, podUsage(o))
		}
	case *corev1.Service:
		serviceUsage(u, o)
	case *corev1.PersistentVolumeClaim:
		claimUsage(u, o)
	case *resourcev1.ResourceClaim:
		deviceUsage(u, o)
	}
	return u
}

func one() resource.Quantity { return *resource.NewQuantity(1, resource.DecimalSI) }

func serviceUsage(u corev1.ResourceList, s *corev1.Service) {
	ports := *resource.NewQuantity(int64(len(s.Spec.Ports)), resource.DecimalSI)
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		u[corev1.ResourceServicesNodePorts] = ports
	case corev1.ServiceTypeLoadBalancer:
		u[corev1.ResourceServicesLoadBalancers] = one()
		if a := s.Spec.AllocateLoadBalancerNodePorts; a == nil || *a {
			u[corev1.ResourceServicesNodePorts] = ports
		}
	}
}

// classSuffix stands between the name of a StorageClass and what is counted of it.
const classSuffix = ".storageclass.storage.k8s.io/"

func claimUsage(u corev1.ResourceList, c *corev1.PersistentVolumeClaim) {
	class := ""
	if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	if class != "" {
		u[corev1.ResourceName(class+classSuffix)+corev1.ResourcePersistentVolumeClaims] = one()
	}
	q, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return
	}
	// While it shrinks a claim still holds what was given to it.
	if given, ok := c.Status.AllocatedResources[corev1.ResourceStorage]; ok && given.Cmp(q) > 0 {
		q = given
	}
	u[corev1.ResourceRequestsStorage] = q
	if class != "" {
		u[corev1.ResourceName(class+classSuffix)+corev1.ResourceRequestsStorage] = q
	}
}

// Concerns tells whether a quota limits anything that objects of a resource
// count for.
func Concerns(q *corev1.ResourceQuota, r schema.GroupResource) bool {
	for name := range q.Spec.Hard {
		if name == CountName(r) || name == counted[r] {
			return true
		}
		switch r.String() {
		case "pods":
			if podResource(name) {
				return true
			}
		case "services":
			if name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers {
				return true
			}
		case "persistentvolumeclaims":
			if name == corev1.ResourceRequestsStorage || strings.Contains(string(name), classSuffix) {
				return true
			}
		case "resourceclaims.resource.k8s.io":
			if strings.HasSuffix(string(name), deviceSuffix) {
				return true
			}
		}
	}
	return false
}

// Covers tells whether an object is within a quota's scopes, which only pods
// and claims of volumes have.
func Covers(q *corev1.ResourceQuota, obj runtime.Object) bool {
	selector := q.Spec.ScopeSelector
	if len(q.Spec.Scopes) == 0 && (selector == nil || len(selector.MatchExpressions) == 0) {
		return true
	}
	within := func(r corev1.ScopedResourceSelectorRequirement) bool {
		switch o := obj.(type) {
		case *corev1.Pod:
			return inScope(o, r)
		case *corev1.PersistentVolumeClaim:
			return claimInScope(o, r)
		}
		return false
	}
	for _, s := range q.Spec.Scopes {
		if !within(corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists}) {
			return false
		}
	}
	if selector != nil {
		for _, requirement := range selector.MatchExpressions {
			if !within(requirement) {
				return false
			}
		}
	}
	return true
}

// Missing returns an error that names the compute resources which a quota
// limits and a pod's containers leave out: what is not said cannot be counted.
func Missing(q *corev1.ResourceQuota, pod *corev1.Pod) error {
	without := map[string][]string{}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			c := &containers[i]
			for name := range q.Spec.Hard {
				if mustSay(pod, name) && !says(c, name) && !slices.Contains(without[string(name)], c.Name) {
					without[string(name)] = append(without[string(name)], c.Name)
				}
			}
		}
	}
	if len(without) == 0 {
		return nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(without)) {
		slices.Sort(without[name])
		parts = append(parts, name+" for: "+strings.Join(without[name], ","))
	}
	return errors.New("must specify " + strings.Join(parts, "; "))
}

// Format writes amounts as messages do: sorted, a=1,b=2.
func Format(l corev1.ResourceList) string {
	parts := make([]string, 0, len(l))
	for _, name := range slices.Sorted(maps.Keys(l)) {
		q := l[name]
		parts = append(parts, string(name)+"="+q.String())
	}
	return strings.Join(parts, ",")
}
