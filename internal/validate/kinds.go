package validate

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kinds returns the table: a row a kind, its rules in a file of the kind's name.
func kinds() map[schema.GroupResource]*rules {
	table := map[schema.GroupResource]*rules{}
	group := func(name string, byResource map[string]*rules) {
		for resource, r := range byResource {
			table[schema.GroupResource{Group: name, Resource: resource}] = r
		}
	}
	group("", map[string]*rules{
		"configmaps":             configMapRules,
		"endpoints":              endpointsRules,
		"events":                 eventRules,
		"limitranges":            limitRangeRules,
		"namespaces":             namespaceRules,
		"nodes":                  nodeRules,
		"persistentvolumeclaims": claimRules,
		"persistentvolumes":      persistentVolumeRules,
		"podtemplates":           podTemplateRules,
		"pods":                   podRules,
		"replicationcontrollers": replicationControllerRules,
		"resourcequotas":         quotaRules,
		"secrets":                secretRules,
		"serviceaccounts":        none, // its metadata is all there is to judge
		"services":               serviceRules,
	})
	group("admissionregistration.k8s.io", map[string]*rules{
		"mutatingadmissionpolicies":         mutatingPolicyRules,
		"mutatingadmissionpolicybindings":   mutatingBindingRules,
		"mutatingwebhookconfigurations":     mutatingWebhookRules,
		"validatingadmissionpolicies":       validatingPolicyRules,
		"validatingadmissionpolicybindings": validatingBindingRules,
		"validatingwebhookconfigurations":   validatingWebhookRules,
	})
	group("apiextensions.k8s.io", map[string]*rules{
		"customresourcedefinitions": definitionRules,
	})
	group("apiregistration.k8s.io", map[string]*rules{
		"apiservices": apiServiceRules,
	})
	group("apps", map[string]*rules{
		"controllerrevisions": controllerRevisionRules,
		"daemonsets":          daemonSetRules,
		"deployments":         deploymentRules,
		"replicasets":         replicaSetRules,
		"statefulsets":        statefulSetRules,
	})
	group("autoscaling", map[string]*rules{
		"horizontalpodautoscalers": autoscalerRules,
	})
	group("batch", map[string]*rules{
		"cronjobs": cronJobRules,
		"jobs":     jobRules,
	})
	group("certificates.k8s.io", map[string]*rules{
		"certificatesigningrequests": signingRequestRules,
	})
	group("coordination.k8s.io", map[string]*rules{
		"leases": leaseRules,
	})
	group("discovery.k8s.io", map[string]*rules{
		"endpointslices": endpointSliceRules,
	})
	group("events.k8s.io", map[string]*rules{
		"events": newEventRules,
	})
	group("flowcontrol.apiserver.k8s.io", map[string]*rules{
		"flowschemas":                 flowSchemaRules,
		"prioritylevelconfigurations": priorityLevelRules,
	})
	group("networking.k8s.io", map[string]*rules{
		"ingressclasses":  ingressClassRules,
		"ingresses":       ingressRules,
		"ipaddresses":     ipAddressRules,
		"networkpolicies": networkPolicyRules,
		"servicecidrs":    serviceCIDRRules,
	})
	group("node.k8s.io", map[string]*rules{
		"runtimeclasses": runtimeClassRules,
	})
	group("policy", map[string]*rules{
		"poddisruptionbudgets": budgetRules,
	})
	group("rbac.authorization.k8s.io", map[string]*rules{
		"clusterrolebindings": clusterRoleBindingRules,
		"clusterroles":        clusterRoleRules,
		"rolebindings":        roleBindingRules,
		"roles":               roleRules,
	})
	group("resource.k8s.io", map[string]*rules{
		"deviceclasses":          deviceClassRules,
		"resourceclaims":         resourceClaimRules,
		"resourceclaimtemplates": resourceClaimTemplateRules,
		"resourceslices":         resourceSliceRules,
	})
	group("scheduling.k8s.io", map[string]*rules{
		"priorityclasses": priorityClassRules,
	})
	group("storage.k8s.io", map[string]*rules{
		"csidrivers":              csiDriverRules,
		"csinodes":                csiNodeRules,
		"csistoragecapacities":    csiStorageCapacityRules,
		"storageclasses":          storageClassRules,
		"volumeattachments":       volumeAttachmentRules,
		"volumeattributesclasses": volumeAttributesClassRules,
	})
	return table
}
