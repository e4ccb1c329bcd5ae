package auth

import "strings"

// Users and groups with a meaning of their own. The names are upstream's.
const (
	Masters            = "system:masters"
	Nodes              = "system:nodes"
	Authenticated      = "system:authenticated"
	Unauthenticated    = "system:unauthenticated"
	ServiceAccounts    = "system:serviceaccounts"
	Anonymous          = "system:anonymous"
	Admin              = "kubernetes-admin"
	APIServer          = "system:apiserver"
	APIServerToKubelet = "kube-apiserver-kubelet-client"
	Scheduler          = "system:kube-scheduler"
	ControllerManager  = "system:kube-controller-manager"
	Proxy              = "system:kube-proxy"
	DNS                = "system:kube-dns"
	Bootstrappers      = "system:bootstrappers"
	// NodeNetworks are the parts of nodes that see the whole cluster's network.
	NodeNetworks = "system:node-networks"

	bootstrapPrefix      = "system:bootstrap:"
	nodePrefix           = "system:node:"
	nodeNetworkPrefix    = "system:node-network:"
	serviceAccountPrefix = "system:serviceaccount:"
)

// NodeUser returns the user name of a node's kubelet.
func NodeUser(node string) string { return nodePrefix + node }

// NodeOf returns the name of the node whose kubelet a user is, or "".
func NodeOf(user string) string {
	node, _ := strings.CutPrefix(user, nodePrefix)
	if len(node) == len(user) {
		return ""
	}
	return node
}

// NodeNetworkUser returns the user name of a node's network, proxy and DNS.
// They read all Services, endpoints, nodes and namespaces, of which a kubelet
// sees its own Node alone. A node takes this identity by impersonation: a
// certificate of its own would lie in the same folder as the kubelet's, and
// whoever got at one would have both, while an impersonation that the node
// authorizer allows for the own name alone needs no second key to renew.
func NodeNetworkUser(node string) string { return nodeNetworkPrefix + node }

// BootstrapUser returns the user name of the bearer of a bootstrap token.
func BootstrapUser(id string) string { return bootstrapPrefix + id }

// ServiceAccountUser returns the user name of a ServiceAccount.
func ServiceAccountUser(namespace, name string) string {
	return serviceAccountPrefix + namespace + ":" + name
}

// ServiceAccountGroups returns the groups of a ServiceAccount, without
// system:authenticated, which every authenticated caller is in.
func ServiceAccountGroups(namespace string) []string {
	return []string{ServiceAccounts, ServiceAccounts + ":" + namespace}
}
