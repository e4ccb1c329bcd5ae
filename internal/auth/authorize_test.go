package auth

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authentication/user"
)

// who takes a name apart into a user: "name group,group".
func who(text string) user.Info {
	name, groups, _ := strings.Cut(text, " ")
	u := &user.DefaultInfo{Name: name, Groups: []string{Authenticated}}
	if groups != "" {
		u.Groups = append(strings.Split(groups, ","), Authenticated)
	}
	return u
}

// what takes a request apart: "verb group/resource/subresource namespace/name?selector",
// with - for nothing, or "verb /path".
func what(t *testing.T, text string) Attributes {
	t.Helper()
	parts := strings.Fields(text)
	a := Attributes{Verb: parts[0]}
	if strings.HasPrefix(parts[1], "/") {
		a.Path = parts[1]
		return a
	}
	resource := strings.SplitN(parts[1], "/", 3)
	a.APIGroup, a.Resource = strings.Trim(resource[0], "-"), resource[1]
	if len(resource) > 2 {
		a.Subresource = resource[2]
	}
	if len(parts) > 2 {
		where, selector, _ := strings.Cut(parts[2], "?")
		namespace, name, _ := strings.Cut(where, "/")
		a.Namespace, a.Name = strings.Trim(namespace, "-"), name
		s, err := fields.ParseSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		a.Fields = s.Requirements()
	}
	return a
}

func testCluster() cluster {
	pod := func(name, node string, spec corev1.PodSpec) *corev1.Pod {
		spec.NodeName = node
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: spec}
	}
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	mine := pod("mine", "n1", corev1.PodSpec{
		ServiceAccountName: "robot",
		ImagePullSecrets:   []corev1.LocalObjectReference{{Name: "pull"}},
		InitContainers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local("from-secret")}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("from-map")}},
		}}},
		Containers: []corev1.Container{{Env: []corev1.EnvVar{
			{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local("key-secret")}}},
			{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: local("key-map")}}},
		}}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local("debug-secret")}},
		}}}},
		Volumes: []corev1.Volume{
			{Name: "a", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume-secret"}}},
			{Name: "b", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("volume-map")}}},
			{Name: "c", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: local("projected-secret")}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local("projected-map")}},
			}}}},
			{Name: "d", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}},
			{Name: "e", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
			{Name: "f", VolumeSource: corev1.VolumeSource{CephFS: &corev1.CephFSVolumeSource{SecretRef: &corev1.LocalObjectReference{Name: "ceph-secret"}}}},
		},
	})
	volume := func(claim string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: claim}}}
	}
	slice := func(node string) *resourcev1.ResourceSlice {
		return &resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{NodeName: &node}}
	}
	return cluster{
		"resourceslices.resource.k8s.io//mine":  slice("n1"),
		"resourceslices.resource.k8s.io//other": slice("n2"),
		"pods/ns/mine":                          mine,
		"pods/ns/other":                         pod("other", "n2", corev1.PodSpec{ServiceAccountName: "else"}),
		"persistentvolumes//pv":                 volume("claim"),
		"persistentvolumes//foreign":            volume("foreign"),
	}
}

func TestAuthorize(t *testing.T) {
	const (
		admin     = "kubernetes-admin system:masters"
		jane      = "jane"
		node      = "system:node:n1 system:nodes"
		scheduler = "system:kube-scheduler"
		robot     = "system:serviceaccount:ns:robot system:serviceaccounts,system:serviceaccounts:ns"
		deploy    = "system:serviceaccount:kube-system:deployment-controller system:serviceaccounts"
		network   = "system:node-network:n1 system:node-networks"
		token     = "system:bootstrap:abcdef system:bootstrappers"
		cleaner   = "system:serviceaccount:kube-system:token-cleaner system:serviceaccounts"
	)
	c := testCluster()
	rules := NewRules(c, c)
	for _, test := range []struct {
		who, what string
		allowed   bool
	}{
		{admin, "delete -/nodes -/n1", true},
		{admin, "get /metrics", true},
		{jane, "get /version", true},
		{jane, "get /apis/apps/v1", true},
		{jane, "get /openapi/v3", true},
		{jane, "get /metrics", false},
		{jane, "post /version", false},
		{jane, "create authorization.k8s.io/selfsubjectaccessreviews", true},
		{jane, "create authorization.k8s.io/subjectaccessreviews", false},
		{jane, "get -/pods ns/x", false},
		{robot, "get -/pods ns/x", false},
		{robot, "get /openid/v1/jwks", true},
		{jane, "get /openid/v1/jwks", false},

		{scheduler, "list -/pods", true},
		{scheduler, "create -/pods/binding ns/x", true},
		{scheduler, "patch -/pods/status ns/x", true},
		{scheduler, "patch -/pods ns/x", false},
		{scheduler, "list -/secrets", false},
		{scheduler, "update coordination.k8s.io/leases kube-system/kube-scheduler", true},
		{scheduler, "update coordination.k8s.io/leases kube-system/other", false},
		{deploy, "create apps/replicasets ns/", true},
		{deploy, "update apps/deployments/status ns/x", true},
		{deploy, "create -/pods ns/", false},
		{deploy, "create events.k8s.io/events ns/", true},

		{node, "get -/nodes -/n1", true},
		{node, "watch -/nodes -/?metadata.name=n1", true},
		{node, "get -/nodes -/n2", false},
		{node, "list -/nodes", false},
		{node, "patch -/nodes/status -/n1", true},
		{node, "patch -/nodes/status -/n2", false},
		{node, "delete -/nodes -/n1", false},
		{node, "create -/nodes", true},
		{node, "list -/pods -/?spec.nodeName=n1", true},
		{node, "watch -/pods -/?spec.nodeName=n1,status.phase!=Failed", true},
		{node, "list -/pods -/?spec.nodeName=n2", false},
		{node, "list -/pods -/?spec.nodeName!=n1", false},
		{node, "list -/pods", false},
		{node, "get -/pods ns/mine", true},
		{node, "get -/pods ns/other", false},
		{node, "get -/pods ns/none", false},
		{node, "patch -/pods/status ns/mine", true},
		{node, "patch -/pods/status ns/other", false},
		{node, "patch -/pods/status ns/none", true},
		{node, "delete -/pods ns/none", true},
		{node, "patch -/pods ns/none", false},
		{node, "patch -/pods ns/mine", false},
		{node, "delete -/pods ns/mine", true},
		{node, "delete -/pods ns/other", false},
		{node, "deletecollection -/pods ns/", false},
		{node, "create -/pods/exec ns/mine", false},
		{node, "create -/pods/binding ns/mine", false},
		{node, "create -/pods/eviction ns/mine", true},
		{node, "create -/serviceaccounts/token ns/robot", true},
		{node, "create -/serviceaccounts/token ns/else", false},
		{node, "create -/serviceaccounts/token kube-system/robot", false},
		{node, "get -/persistentvolumes -/pv", true},
		{node, "get -/persistentvolumes -/foreign", false},
		{node, "list -/persistentvolumes", false},
		{node, "get -/persistentvolumeclaims ns/claim", true},
		{node, "get -/persistentvolumeclaims ns/mine-e", true},
		{node, "get -/persistentvolumeclaims ns/other", false},
		{node, "watch -/persistentvolumeclaims ns/?metadata.name=claim", false},
		{node, "get resource.k8s.io/resourceslices -/mine", true},
		{node, "delete resource.k8s.io/resourceslices -/mine", true},
		{node, "get resource.k8s.io/resourceslices -/other", false},
		{node, "update resource.k8s.io/resourceslices -/other", false},
		{node, "create resource.k8s.io/resourceslices", true},
		{node, "watch coordination.k8s.io/leases kube-node-lease/?metadata.name=n1", false},
		{node, "list -/secrets", false},
		{node, "list -/secrets ns/", false},
		{node, "watch -/secrets ns/?metadata.name=pull", true},
		{node, "get -/secrets kube-system/pull", false},
		{node, "update -/secrets ns/pull", false},
		{node, "get -/secrets ns/volume-map", false},
		{node, "update coordination.k8s.io/leases kube-node-lease/n1", true},
		{node, "update coordination.k8s.io/leases kube-node-lease/n2", false},
		{node, "update coordination.k8s.io/leases kube-system/n1", false},
		{node, "list -/services", true},
		{node, "list discovery.k8s.io/endpointslices", true},
		{node, "create -/events ns/", true},
		{node, "create certificates.k8s.io/certificatesigningrequests", true},
		{node, "list apps/deployments", false},
		{node, "impersonate -/users -/system:node-network:n1", true},
		{node, "impersonate -/users -/system:node-network:n2", false},
		{node, "impersonate -/users -/system:node:n2", false},
		{node, "impersonate -/users -/kubernetes-admin", false},
		{node, "impersonate -/groups -/system:node-networks", true},
		{node, "impersonate -/groups -/system:masters", false},
		{node, "get -/users -/system:node-network:n1", false},
		{network, "list -/nodes", true},
		{network, "watch -/services", true},
		{network, "list -/namespaces", true},
		{network, "list discovery.k8s.io/endpointslices", true},
		{network, "get /bootstrap/network.json", true},
		{node, "get /bootstrap/network.json", false},
		{network, "update -/services ns/x", false},
		{network, "list -/secrets", false},
		{network, "list -/pods", false},
		{network, "patch -/nodes -/n1", false},
		{token, "create certificates.k8s.io/certificatesigningrequests", true},
		{token, "watch certificates.k8s.io/certificatesigningrequests", true},
		{token, "create certificates.k8s.io/certificatesigningrequests/nodeclient", true},
		{token, "create certificates.k8s.io/certificatesigningrequests/selfnodeclient", false},
		{node, "create certificates.k8s.io/certificatesigningrequests/selfnodeclient", true},
		{node, "create certificates.k8s.io/certificatesigningrequests/nodeclient", false},
		{node, "update certificates.k8s.io/certificatesigningrequests/approval -/x", false},
		{token, "update certificates.k8s.io/certificatesigningrequests/approval -/x", false},
		{token, "list -/secrets kube-system/", false},
		{token, "create -/nodes", false},
		{token, "list -/nodes", false},
		{cleaner, "delete -/secrets kube-system/x", true},
		{cleaner, "delete -/secrets ns/x", false},
		{cleaner, "list -/secrets", false},
		{"system:node: system:nodes", "get -/nodes -/", false},
		{"system:node:n1", "get -/nodes -/n1", false}, // without the group
		{"jane system:nodes", "get -/nodes -/n1", false},
	} {
		a := what(t, test.what)
		a.User = who(test.who)
		if allowed, reason, err := rules.Authorize(context.Background(), a); err != nil || allowed != test.allowed {
			t.Errorf("%s may %s: %v (%s, %v), want %v", test.who, test.what, allowed, reason, err, test.allowed)
		}
	}
	for kind, names := range map[string][]string{
		"secrets":    {"pull", "from-secret", "key-secret", "debug-secret", "volume-secret", "projected-secret", "ceph-secret"},
		"configmaps": {"from-map", "key-map", "volume-map", "projected-map"},
	} {
		for _, name := range names {
			a := what(t, "get -/"+kind+" ns/"+name)
			for user, want := range map[string]bool{node: true, "system:node:n2 system:nodes": false} {
				a.User = who(user)
				if allowed, _, _ := rules.Authorize(context.Background(), a); allowed != want {
					t.Errorf("%s may get %s %s: %v", user, kind, name, allowed)
				}
			}
		}
	}
}

// What a node is told that may not.
func TestNodeReasons(t *testing.T) {
	c := testCluster()
	rules := NewRules(c, c)
	const unrelated, one = "no relationship found between node 'n1' and this object", "can only get individual resources of this type"
	for asked, want := range map[string]string{
		"get -/nodes -/n2":                                  "node 'n1' cannot read 'n2', only its own Node object",
		"watch -/nodes":                                     "node 'n1' cannot read all nodes, only its own Node object",
		"list -/pods":                                       "can only list/watch pods with spec.nodeName field selector",
		"get -/secrets ns/x":                                unrelated,
		"list -/secrets ns/":                                "No Object name found",
		"update -/configmaps ns/x":                          "can only read resources of this type",
		"list -/persistentvolumes":                          one,
		"update -/persistentvolumeclaims ns/claim":          one,
		"list storage.k8s.io/volumeattachments":             one,
		"list resource.k8s.io/resourceclaims ns/":           one,
		"list -/serviceaccounts ns/":                        "can only create tokens for individual service accounts",
		"watch coordination.k8s.io/leases ns/":              "can only get, create, update, patch, or delete a node lease",
		"get coordination.k8s.io/leases ns/n1":              `can only access leases in the "kube-node-lease" system namespace`,
		"get coordination.k8s.io/leases kube-node-lease/n2": "can only access node lease with the same name as the requesting node",
		"list storage.k8s.io/csinodes":                      "can only get, create, update, patch, or delete a CSINode",
		"get storage.k8s.io/csinodes -/n2":                  "can only access CSINode with the same name as the requesting node",
		"list resource.k8s.io/resourceslices":               "can only list/watch/deletecollection resourceslices with nodeName field selector",
		"get resource.k8s.io/resourceslices -/other":        unrelated,
		"get resource.k8s.io/resourceslices":                "No Object name found",
	} {
		a := what(t, asked)
		a.User = who("system:node:n1 system:nodes")
		if allowed, reason, _ := rules.Authorize(t.Context(), a); allowed || reason != want {
			t.Errorf("%s: %v, %q, want %q", asked, allowed, reason, want)
		}
	}
}

func TestRule(t *testing.T) {
	for _, test := range []struct {
		rule rbacv1.PolicyRule
		what string
		want bool
	}{
		{rule("get", "", "pods"), "get -/pods", true},
		{rule("get", "", "pods"), "get -/pods/log", false},
		{rule("get", "", "pods/log"), "get -/pods/log", true},
		{rule("get", "", "pods/log"), "get -/pods", false},
		{rule("get", "", "*/log"), "get -/pods/log", true},
		{rule("get", "", "*/log"), "get -/pods", false},
		{rule("get", "", "*"), "get -/pods/log", true},
		{rule("*", "*", "*"), "x y/z", true},
		{rule("*", "*", "*"), "get /metrics", false},
		{rule("get", "apps", "pods"), "get -/pods", false},
		{only(rule("get", "", "pods"), "a"), "get -/pods ns/a", true},
		{only(rule("get", "", "pods"), "a"), "get -/pods ns/b", false},
		{only(rule("list", "", "pods"), "a"), "list -/pods", false},
		{path("get", "/a/*"), "get /a/b", true},
		{path("get", "/a/*"), "get /a", false},
		{path("get", "/a"), "get /a/b", false},
		{path("get", "*"), "get /a/b", true},
		{path("get", "*"), "get -/pods", false},
	} {
		a := what(t, test.what)
		if got := Allows(&test.rule, &a); got != test.want {
			t.Errorf("%+v allows %s: %v", test.rule, test.what, got)
		}
	}
}

func TestForbidden(t *testing.T) {
	for _, test := range []struct{ what, reason, want string }{
		{"list -/pods ns/", "", `pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "ns"`},
		{"get apps/deployments ns/web", "", `deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" in the namespace "ns"`},
		{"get -/nodes -/n1", "why", `nodes "n1" is forbidden: User "jane" cannot get resource "nodes" in API group "" at the cluster scope: why`},
		{"create -/pods/exec ns/web", "", `pods "web" is forbidden: User "jane" cannot create resource "pods/exec" in API group "" in the namespace "ns"`},
		{"get /metrics", "", `forbidden: User "jane" cannot get path "/metrics"`},
	} {
		a := what(t, test.what)
		a.User = who("jane")
		if got := Forbidden(a, test.reason).Error(); got != test.want {
			t.Errorf("%s\nwant %s", got, test.want)
		}
	}
}

func TestRulesFor(t *testing.T) {
	rules := NewRules(cluster{}, cluster{})
	if got := fmt.Sprint(rules.RulesFor(who("jane"), "ns")); !strings.Contains(got, "selfsubjectaccessreviews") || strings.Contains(got, "secrets") {
		t.Errorf("jane's rules are %s", got)
	}
	if got := rules.RulesFor(who("node system:nodes"), "ns"); !got.Incomplete {
		t.Errorf("the node's rules are %v", got)
	}
	got := rules.RulesFor(who("a system:masters"), "ns")
	if len(got.ResourceRules) == 0 || len(got.NonResourceRules) == 0 || got.ResourceRules[0].Verbs[0] != "*" || got.NonResourceRules[0].Verbs[0] != "*" || got.Incomplete {
		t.Errorf("the master's rules are %v", got)
	}
}

func BenchmarkAuthorizeController(b *testing.B) {
	rules := NewRules(cluster{}, cluster{})
	a := Attributes{User: who("system:serviceaccount:kube-system:replicaset-controller system:serviceaccounts,system:serviceaccounts:kube-system"), Verb: "create", Resource: "pods", APIVersion: "v1", Namespace: "ns"}
	b.ReportAllocs()
	for b.Loop() {
		if ok, _, _ := rules.Authorize(context.Background(), a); !ok {
			b.Fatal("denied")
		}
	}
}
