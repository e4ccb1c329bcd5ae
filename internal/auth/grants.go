package auth

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// rule allows verbs, written with spaces between them, on resources of a group.
func rule(verbs, group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: strings.Fields(verbs), APIGroups: []string{group}, Resources: resources}
}

// path allows verbs on paths that are no resource's.
func path(verbs string, urls ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: strings.Fields(verbs), NonResourceURLs: urls}
}

// only narrows a rule to named objects.
func only(r rbacv1.PolicyRule, names ...string) rbacv1.PolicyRule {
	r.ResourceNames = names
	return r
}

const read = "get list watch"

// Whoever does something may tell of it, in either group. Never changed.
var (
	events    = rule("create update patch", "", "events")
	newEvents = rule("create update patch", "events.k8s.io", "events")
)

// builtin returns the grants that every cluster has: those of everybody, of
// the node agents, of the scheduler and of each controller, as narrow as
// their work allows.
func builtin() []Grant {
	return append([]Grant{
		{
			Role: "system:public-info-viewer", Groups: []string{Authenticated, Unauthenticated},
			Rules: []rbacv1.PolicyRule{path("get", "/healthz", "/livez", "/readyz", "/version", "/version/", BootstrapPath)},
		},
		{
			Role: "system:discovery", Groups: []string{Authenticated},
			Rules: []rbacv1.PolicyRule{path("get", "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/")},
		},
		{
			Role: "system:basic-user", Groups: []string{Authenticated},
			Rules: []rbacv1.PolicyRule{
				rule("create", "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
				rule("create", "authentication.k8s.io", "selfsubjectreviews"),
			},
		},
		{
			Role: "system:service-account-issuer-discovery", Groups: []string{ServiceAccounts},
			Rules: []rbacv1.PolicyRule{path("get", DiscoveryPath, DiscoveryPath+"/", KeysPath, KeysPath+"/")},
		},
		{
			// Besides what NodeAuthorizer allows object by object.
			Role: "system:node", Groups: []string{Nodes},
			Rules: []rbacv1.PolicyRule{
				events, newEvents,
				rule(read, "", "services"),
				rule(read, "discovery.k8s.io", "endpointslices"),
				rule(read, "node.k8s.io", "runtimeclasses"),
				rule(read, "storage.k8s.io", "csidrivers"),
				rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
				rule("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient"),
				rule("create", "authentication.k8s.io", "tokenreviews"),
				rule("create", "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
			},
		},
		{
			Role: "system:node-proxier", Users: []string{Proxy},
			Rules: []rbacv1.PolicyRule{
				rule("list watch", "", "services"), rule(read, "", "nodes"),
				rule("list watch", "discovery.k8s.io", "endpointslices"),
				rule("list watch", "networking.k8s.io", "servicecidrs"),
				events, newEvents,
			},
		},
		{
			// What a machine with a bootstrap token may do: ask to become a node.
			Role: "system:node-bootstrapper", Groups: []string{Bootstrappers},
			Rules: []rbacv1.PolicyRule{
				rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
				rule("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient"),
			},
		},
		{
			Role: "system:node-network", Groups: []string{NodeNetworks},
			Rules: []rbacv1.PolicyRule{
				rule("list watch", "", "services", "nodes", "namespaces"),
				rule("list watch", "discovery.k8s.io", "endpointslices"),
				path("get", NetworkPath),
				events, newEvents,
			},
		},
		{
			Role: "system:kube-dns", Users: []string{DNS},
			Rules: []rbacv1.PolicyRule{
				rule("list watch", "", "services", "namespaces", "pods"),
				rule("list watch", "discovery.k8s.io", "endpointslices"),
			},
		},
		{
			// What an API server asks of kubelets.
			Role: "system:kubelet-api-admin", Users: []string{APIServerToKubelet},
			Rules: []rbacv1.PolicyRule{
				rule(read, "", "nodes"), rule("proxy", "", "nodes"),
				rule("*", "", "nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats", "nodes/configz", "nodes/healthz", "nodes/pods"),
			},
		},
		{
			Role: "system:kube-scheduler", Users: []string{Scheduler},
			Rules: []rbacv1.PolicyRule{
				events, newEvents,
				rule(read, "", "nodes", "namespaces", "services", "replicationcontrollers", "persistentvolumeclaims", "persistentvolumes"),
				rule("get list watch delete", "", "pods"),
				rule("create", "", "bindings", "pods/binding"),
				rule("patch update", "", "pods/status"),
				rule("patch update", "", "persistentvolumeclaims", "persistentvolumes"),
				rule(read, "apps", "replicasets", "statefulsets"),
				rule(read, "policy", "poddisruptionbudgets"),
				rule(read, "scheduling.k8s.io", "priorityclasses"),
				rule(read, "storage.k8s.io", "storageclasses", "csinodes", "csidrivers", "csistoragecapacities", "volumeattachments"),
				rule(read, "resource.k8s.io", "deviceclasses", "resourceslices"),
				rule("get list watch update patch", "resource.k8s.io", "resourceclaims", "resourceclaims/status"),
				rule("create", "coordination.k8s.io", "leases"),
				only(rule("get list watch update patch", "coordination.k8s.io", "leases"), "kube-scheduler"),
				rule("create", "authentication.k8s.io", "tokenreviews"),
				rule("create", "authorization.k8s.io", "subjectaccessreviews"),
			},
		},
		{
			// The process that runs the controllers; each of them has an
			// identity of its own for its work.
			Role: "system:kube-controller-manager", Users: []string{ControllerManager},
			Rules: []rbacv1.PolicyRule{
				events, newEvents,
				rule("list watch", "*", "*"),
				rule("get create", "", "serviceaccounts"),
				rule("create", "", "serviceaccounts/token"),
				rule("create", "coordination.k8s.io", "leases"),
				only(rule("get list watch update patch", "coordination.k8s.io", "leases"), "kube-controller-manager"),
				rule("create", "authentication.k8s.io", "tokenreviews"),
				rule("create", "authorization.k8s.io", "subjectaccessreviews"),
			},
		},
		{
			// Of all Secrets it sees those beside which bootstrap tokens lie.
			Role: "system:controller:token-cleaner", Users: []string{ControllerUser("token-cleaner")}, Namespace: "kube-system",
			Rules: []rbacv1.PolicyRule{rule("get list watch delete", "", "secrets")},
		},
	}, controllers()...)
}
