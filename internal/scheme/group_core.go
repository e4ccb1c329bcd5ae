package scheme

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

func coreRows() []*Resource {
	core := func(r Resource) Resource { r.Version = "v1"; return r }
	return []*Resource{
		single[corev1.Binding](core(Resource{
			Kind: "Binding", Name: "bindings", Singular: "binding", Namespaced: true, Verbs: createOnly,
		})),
		// Only ever made up when it is asked for.
		row[corev1.ComponentStatus, corev1.ComponentStatusList](core(Resource{
			Kind: "ComponentStatus", Name: "componentstatuses", Singular: "componentstatus", ShortNames: []string{"cs"},
			Verbs: []string{"get", "list"},
		})),
		row[corev1.ConfigMap, corev1.ConfigMapList](core(Resource{
			Kind: "ConfigMap", Name: "configmaps", Singular: "configmap", ShortNames: []string{"cm"},
			Namespaced: true, Verbs: everyVerb, Prefix: "configmaps",
		})),
		row[corev1.Endpoints, corev1.EndpointsList](core(Resource{
			Kind: "Endpoints", Name: "endpoints", Singular: "endpoints", ShortNames: []string{"ep"},
			Default:    defaulter(defaultEndpoints),
			Namespaced: true, Verbs: everyVerb, Prefix: "services/endpoints",
		})),
		row[corev1.Event, corev1.EventList](core(Resource{
			Kind: "Event", Name: "events", Singular: "event", ShortNames: []string{"ev"},
			Namespaced: true, Verbs: everyVerb, Prefix: "events", Lazy: true,
			Fields: selectable(eventField), FieldNames: []string{
				"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
				"involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
				"reason", "reportingComponent", "source", "type",
			},
		})),
		row[corev1.LimitRange, corev1.LimitRangeList](core(Resource{
			Kind: "LimitRange", Name: "limitranges", Singular: "limitrange", ShortNames: []string{"limits"},
			Default:    defaulter(defaultLimitRange),
			Namespaced: true, Verbs: everyVerb, Prefix: "limitranges",
		})),
		row[corev1.Namespace, corev1.NamespaceList](core(Resource{
			Kind: "Namespace", Name: "namespaces", Singular: "namespace", ShortNames: []string{"ns"},
			Default: defaulter(defaultNamespace),
			// A collection of namespaces is not deleted at one go.
			Verbs:  []string{"create", "delete", "get", "list", "patch", "update", "watch"},
			Prefix: "namespaces",
			Subresources: []Subresource{
				{Name: "finalize", Verbs: []string{"update"}}, status(),
			},
			Fields: selectable(namespaceField), FieldNames: []string{"status.phase"},
		})),
		row[corev1.Node, corev1.NodeList](core(Resource{
			Kind: "Node", Name: "nodes", Singular: "node", ShortNames: []string{"no"},
			Default: defaulter(defaultNode),
			Verbs:   everyVerb, Prefix: "minions",
			Subresources: []Subresource{
				{Name: "proxy", Kind: coreKind("NodeProxyOptions"), Verbs: proxyVerbs}, status(),
			},
			Fields: selectable(nodeField), FieldNames: []string{"spec.unschedulable"},
		})),
		row[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList](core(Resource{
			Kind: "PersistentVolumeClaim", Name: "persistentvolumeclaims", Singular: "persistentvolumeclaim",
			Default:    defaulter(defaultPersistentVolumeClaim),
			ShortNames: []string{"pvc"}, Namespaced: true, Verbs: everyVerb, Prefix: "persistentvolumeclaims",
			Subresources: []Subresource{status()},
		})),
		row[corev1.PersistentVolume, corev1.PersistentVolumeList](core(Resource{
			Kind: "PersistentVolume", Name: "persistentvolumes", Singular: "persistentvolume",
			Default:    defaulter(defaultPersistentVolume),
			ShortNames: []string{"pv"}, Verbs: everyVerb, Prefix: "persistentvolumes",
			Subresources: []Subresource{status()},
		})),
		row[corev1.Pod, corev1.PodList](core(Resource{
			Kind: "Pod", Name: "pods", Singular: "pod", ShortNames: []string{"po"}, Categories: []string{"all"},
			Default:    defaulter(defaultPod),
			Namespaced: true, Verbs: everyVerb, Prefix: "pods",
			Subresources: []Subresource{
				{Name: "attach", Kind: coreKind("PodAttachOptions"), Verbs: connect},
				{Name: "binding", Kind: coreKind("Binding"), Verbs: createOnly},
				{Name: "ephemeralcontainers", Verbs: readWrite, NoTable: true},
				{Name: "eviction", Kind: evictionKind, Verbs: createOnly},
				{Name: "exec", Kind: coreKind("PodExecOptions"), Verbs: connect},
				{Name: "log", Verbs: []string{"get"}},
				{Name: "portforward", Kind: coreKind("PodPortForwardOptions"), Verbs: connect},
				{Name: "proxy", Kind: coreKind("PodProxyOptions"), Verbs: proxyVerbs},
				{Name: "resize", Verbs: readWrite, NoTable: true},
				status(),
			},
			Fields: selectable(podField), FieldNames: []string{
				"spec.nodeName", "spec.host", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
				"spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
			},
		})),
		row[corev1.PodTemplate, corev1.PodTemplateList](core(Resource{
			Kind: "PodTemplate", Name: "podtemplates", Singular: "podtemplate",
			Default:    defaulter(defaultPodTemplate),
			Namespaced: true, Verbs: everyVerb, Prefix: "podtemplates",
		})),
		row[corev1.ReplicationController, corev1.ReplicationControllerList](core(Resource{
			Kind: "ReplicationController", Name: "replicationcontrollers", Singular: "replicationcontroller",
			Default:    defaulter(defaultReplicationController),
			ShortNames: []string{"rc"}, Categories: []string{"all"},
			Namespaced: true, Verbs: everyVerb, Prefix: "controllers",
			Subresources: []Subresource{scale(), status()},
			Fields: selectable(func(rc *corev1.ReplicationController, name string) (string, bool) {
				return strconv.Itoa(int(rc.Status.Replicas)), name == "status.replicas"
			}),
			FieldNames: []string{"status.replicas"},
		})),
		row[corev1.ResourceQuota, corev1.ResourceQuotaList](core(Resource{
			Kind: "ResourceQuota", Name: "resourcequotas", Singular: "resourcequota", ShortNames: []string{"quota"},
			Default:    defaulter(defaultResourceQuota),
			Namespaced: true, Verbs: everyVerb, Prefix: "resourcequotas",
			Subresources: []Subresource{status()},
		})),
		row[corev1.Secret, corev1.SecretList](core(Resource{
			Kind: "Secret", Name: "secrets", Singular: "secret",
			Default:    defaulter(defaultSecret),
			Namespaced: true, Verbs: everyVerb, Prefix: "secrets",
			Fields: selectable(func(s *corev1.Secret, name string) (string, bool) {
				return string(s.Type), name == "type"
			}),
			FieldNames: []string{"type"},
		})),
		row[corev1.ServiceAccount, corev1.ServiceAccountList](core(Resource{
			Kind: "ServiceAccount", Name: "serviceaccounts", Singular: "serviceaccount", ShortNames: []string{"sa"},
			Namespaced: true, Verbs: everyVerb, Prefix: "serviceaccounts",
			Subresources: []Subresource{{Name: "token", Kind: tokenRequestKind, Verbs: createOnly}},
		})),
		row[corev1.Service, corev1.ServiceList](core(Resource{
			Kind: "Service", Name: "services", Singular: "service", ShortNames: []string{"svc"},
			Default:    defaulter(defaultService),
			Categories: []string{"all"}, Namespaced: true, Verbs: everyVerb, Prefix: "services/specs",
			Subresources: []Subresource{
				{Name: "proxy", Kind: coreKind("ServiceProxyOptions"), Verbs: proxyVerbs}, status(),
			},
			Fields: selectable(serviceField), FieldNames: []string{"spec.clusterIP", "spec.type"},
		})),
	}
}

func podField(p *corev1.Pod, name string) (string, bool) {
	switch name {
	case "spec.nodeName", "spec.host": // its name of old
		return p.Spec.NodeName, true
	case "spec.restartPolicy":
		return string(p.Spec.RestartPolicy), true
	case "spec.schedulerName":
		return p.Spec.SchedulerName, true
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName, true
	case "spec.hostNetwork":
		return strconv.FormatBool(p.Spec.HostNetwork), true
	case "status.phase":
		return string(p.Status.Phase), true
	case "status.podIP", "status.podIPs":
		if len(p.Status.PodIPs) > 0 {
			return p.Status.PodIPs[0].IP, true
		}
		return p.Status.PodIP, true
	case "status.nominatedNodeName":
		return p.Status.NominatedNodeName, true
	}
	return "", false
}

func nodeField(n *corev1.Node, name string) (string, bool) {
	return strconv.FormatBool(n.Spec.Unschedulable), name == "spec.unschedulable"
}

func namespaceField(n *corev1.Namespace, name string) (string, bool) {
	return string(n.Status.Phase), name == "status.phase"
}

func serviceField(s *corev1.Service, name string) (string, bool) {
	switch name {
	case "spec.clusterIP":
		return s.Spec.ClusterIP, true
	case "spec.type":
		return string(s.Spec.Type), true
	}
	return "", false
}

func eventField(e *corev1.Event, name string) (string, bool) {
	switch name {
	case "involvedObject.kind":
		return e.InvolvedObject.Kind, true
	case "involvedObject.namespace":
		return e.InvolvedObject.Namespace, true
	case "involvedObject.name":
		return e.InvolvedObject.Name, true
	case "involvedObject.uid":
		return string(e.InvolvedObject.UID), true
	case "involvedObject.apiVersion":
		return e.InvolvedObject.APIVersion, true
	case "involvedObject.resourceVersion":
		return e.InvolvedObject.ResourceVersion, true
	case "involvedObject.fieldPath":
		return e.InvolvedObject.FieldPath, true
	case "reason":
		return e.Reason, true
	case "reportingComponent":
		return e.ReportingController, true
	case "source":
		if e.Source.Component != "" {
			return e.Source.Component, true
		}
		return e.ReportingController, true
	case "type":
		return e.Type, true
	}
	return "", false
}
