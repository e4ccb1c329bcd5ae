package security

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clipper/internal/auth"
)

// testNode: a node whose credentials were stolen reaches its own objects, and
// through them nothing else.
func testNode(t *testing.T, w *world) {
	ctx := t.Context()
	core := w.client.CoreV1()
	self := &corev1.Node{}
	for _, name := range []string{"n1", "n2"} {
		n, err := core.Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Kubectl("delete", "node", name) })
		if name == "n1" {
			self = n
		}
	}
	for _, name := range []string{"mine", "theirs", "nobodys", "shared"} {
		if _, err := core.Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := core.ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := core.ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	uids := map[string]string{}
	// Of two pods of one account, one is the node's.
	for name, node := range map[string]string{"mine": "n1", "beside": "n2", "theirs": "n2"} {
		p := shell(name, "exit 0")
		p.Spec.NodeName, p.Spec.ServiceAccountName = node, "mine"
		if name == "theirs" {
			p.Spec.ServiceAccountName = "shared"
		}
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}},
		}
		made, err := core.Pods("default").Create(ctx, p, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		uids[name] = string(made.UID)
		t.Cleanup(func() { w.Kubectl("delete", "pod", name, "--grace-period=0", "--force") })
	}

	const ns = "/api/v1/namespaces/default"
	token := func(pod, audience string) string {
		return fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[%s],"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":%q,"uid":%q}}}`, audience, pod, uids[pod])
	}
	lease := func(name string) string {
		return `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"` + name + `","namespace":"kube-node-lease"},"spec":{"holderIdentity":"n1"}}`
	}
	mirror := func(node, owner, spec string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"mirror","annotations":{"kubernetes.io/config.mirror":"x"},"ownerReferences":[%s]},
			"spec":{"nodeName":%q,"containers":[{"name":"c","image":"i"}],%s}}`, owner, node, spec)
	}
	own := fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","name":"n1","uid":%q,"controller":true}`, self.UID)
	plain := `"restartPolicy":"Always"`
	const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

	node := w.as(t, auth.NodeUser("n1"), auth.Nodes)
	for _, c := range []struct {
		method, path, body string
		code               int
		message            string // what a refusal says, if it matters
	}{
		// Reading.
		{"GET", "/api/v1/nodes/n1", "", 200, ""},
		{"GET", "/api/v1/nodes/n2", "", 403, "node 'n1' cannot read 'n2', only its own Node object"},
		{"GET", "/api/v1/nodes", "", 403, ""},
		{"GET", "/api/v1/pods", "", 403, ""},
		{"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", "", 200, ""},
		{"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", "", 403, ""},
		{"GET", "/api/v1/pods?fieldSelector=spec.nodeName!%3Dn1", "", 403, ""},
		{"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&fieldSelector=", "", 200, ""},
		{"GET", "/api/v1/pods?fieldSelector=&fieldSelector=spec.nodeName%3Dn1", "", 403, ""},
		{"GET", ns + "/pods/mine", "", 200, ""},
		{"GET", ns + "/pods/theirs", "", 403, ""},
		{"GET", ns + "/secrets/mine", "", 200, ""},
		{"GET", ns + "/secrets/theirs", "", 403, "no relationship found between node 'n1' and this object"},
		{"GET", ns + "/secrets/nobodys", "", 403, ""},
		{"GET", ns + "/secrets", "", 403, ""},
		{"GET", ns + "/secrets?fieldSelector=metadata.name%3Dmine", "", 200, ""},
		{"GET", ns + "/secrets?fieldSelector=metadata.name%3Dtheirs", "", 403, ""},
		{"GET", "/api/v1/watch/namespaces/default/secrets/theirs", "", 403, ""},
		{"GET", "/api/v1/secrets?fieldSelector=metadata.name%3Dmine", "", 403, ""},
		{"GET", ns + "/secrets/mine/../theirs", "", 403, ""},
		{"GET", ns + "/secrets/mine%2f..%2ftheirs", "", 403, ""},
		{"GET", ns + "/configmaps/mine", "", 200, ""},
		{"GET", ns + "/configmaps/theirs", "", 403, ""},
		{"GET", leases + "/n2", "", 403, ""},
		{"GET", "/metrics", "", 403, ""},
		{"GET", "/debug/pprof/heap", "", 403, ""},
		// Tokens.
		{"POST", ns + "/serviceaccounts/mine/token", token("mine", ""), 201, ""},
		{"POST", ns + "/serviceaccounts/shared/token", token("theirs", ""), 403, ""},
		{"POST", ns + "/serviceaccounts/mine/token", token("beside", ""), 403, "node requested token bound to a pod scheduled on a different node"},
		{"POST", ns + "/serviceaccounts/mine/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[]}}`, 403, "node requested token not bound to a pod"},
		{"POST", ns + "/serviceaccounts/mine/token", token("mine", `"vault"`), 403, `audience "vault" not found in pod spec volume`},
		// Its own Node.
		{"PATCH", "/api/v1/nodes/n1", `{"metadata":{"labels":{"acme.com/rack":"7"}}}`, 200, ""},
		{"PATCH", "/api/v1/nodes/n1", `{"metadata":{"labels":{"node-restriction.kubernetes.io/pci":"yes"}}}`, 403, "is not allowed to modify labels: node-restriction.kubernetes.io/pci"},
		{"PATCH", "/api/v1/nodes/n1", `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`, 403, "is not allowed to modify labels"},
		{"PATCH", "/api/v1/nodes/n1/status", `{"metadata":{"labels":{"node-restriction.kubernetes.io/pci":"yes"}}}`, 403, "is not allowed to modify labels"},
		{"PATCH", "/api/v1/nodes/n1", `{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}`, 403, `node "n1" is not allowed to modify taints`},
		{"PATCH", "/api/v1/nodes/n1", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"x"}]}}`, 403, `node "n1" is not allowed to modify ownerReferences`},
		{"PATCH", "/api/v1/nodes/n1/status", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"x"}]}}`, 403, ""},
		{"PATCH", "/api/v1/nodes/n2", `{"metadata":{"labels":{"a":"b"}}}`, 403, ""},
		{"PATCH", "/api/v1/nodes/n2/status", `{"status":{"phase":"Running"}}`, 403, ""},
		{"DELETE", "/api/v1/nodes/n1", "", 403, ""},
		{"POST", "/api/v1/nodes", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n3"}}`, 403, `node "n1" is not allowed to modify node "n3"`},
		// Leases.
		{"POST", leases, lease("n1"), 201, ""},
		{"POST", leases, lease("n2"), 403, ""},
		{"PATCH", leases + "/n2", `{"spec":{"holderIdentity":"n1"}}`, 403, ""},
		{"POST", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", strings.ReplaceAll(lease("n1"), "kube-node-lease", "kube-system"), 403, ""},
		// Pods.
		{"PATCH", ns + "/pods/mine/status", `{"status":{"message":"m"}}`, 200, ""},
		{"PATCH", ns + "/pods/mine/status", `{"metadata":{"labels":{"app":"bank"}}}`, 403, `node "n1" cannot update labels through pod status`},
		{"PATCH", ns + "/pods/theirs/status", `{"status":{"message":"m"}}`, 403, ""},
		{"PATCH", ns + "/pods/mine", `{"metadata":{"labels":{"app":"bank"}}}`, 403, ""},
		{"DELETE", ns + "/pods/theirs", "", 403, ""},
		{"DELETE", ns + "/pods", "", 403, ""},
		{"POST", ns + "/pods/theirs/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"theirs"}}`, 403, ""},
		{"POST", ns + "/pods/mine/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"theirs"}}`, 400, ""},
		{"POST", ns + "/pods/theirs/binding", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"theirs"},"target":{"name":"n1"}}`, 403, ""},
		{"POST", ns + "/bindings", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"theirs"},"target":{"name":"n1"}}`, 403, ""},
		{"POST", ns + "/pods/theirs/exec?command=id&stdout=1", "", 403, ""},
		{"POST", ns + "/pods/mine/exec?command=id&stdout=1", "", 403, ""},
		{"GET", ns + "/pods/mine/log", "", 403, ""},
		{"GET", "/api/v1/nodes/n1/proxy/pods", "", 403, ""},
		{"GET", "/api/v1/nodes/n2/proxy/exec/default/theirs/c?command=id", "", 403, ""},
		// Pods of its own making.
		{"POST", ns + "/pods", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"made"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}}`, 403, "can only create mirror pods"},
		{"POST", ns + "/pods", mirror("n2", own, plain), 403, "spec.nodeName set to itself"},
		{"POST", ns + "/pods", mirror("n1", "", plain), 403, "an owner reference set to itself"},
		{"POST", ns + "/pods", mirror("n1", own, `"volumes":[{"name":"v","secret":{"secretName":"theirs"}}]`), 403, ""},
		{"POST", ns + "/pods", mirror("n1", own, `"volumes":[{"name":"v","configMap":{"name":"theirs"}}]`), 403, "reference configmaps"},
		{"POST", ns + "/pods", mirror("n1", own, `"volumes":[{"name":"v","csi":{"driver":"d.io","nodePublishSecretRef":{"name":"theirs"}}}]`), 403, "reference secrets"},
		{"POST", ns + "/pods", mirror("n1", own, `"volumes":[{"name":"v","rbd":{"monitors":["m"],"image":"i","secretRef":{"name":"theirs"}}}]`), 403, "reference secrets"},
		{"POST", ns + "/pods", mirror("n1", own, `"imagePullSecrets":[{"name":"theirs"}]`), 403, "reference secrets"},
		{"POST", ns + "/pods", mirror("n1", own, `"serviceAccountName":"theirs"`), 403, ""},
		{"GET", ns + "/secrets/theirs", "", 403, ""}, // whatever the above did
		{"POST", ns + "/pods", mirror("n1", own, plain), 201, ""},
		{"DELETE", ns + "/pods/mirror?gracePeriodSeconds=0", "", 200, ""},
		// Rights.
		{"POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"me"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"User","name":"system:node:n1"}]}`, 403, ""},
	} {
		code, text := node.ask(t, c.method, c.path, c.body)
		if code != c.code || !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), c.message) {
			t.Errorf("%s %s %.120s: %d, want %d with %q: %.300s", c.method, c.path, c.body, code, c.code, c.message, text)
		}
	}
	for _, c := range []struct {
		why, user string
		groups    []string
	}{
		{"a node's name without its group", auth.NodeUser("n1"), nil},
		{"a node's group without a name", "someone", []string{auth.Nodes}},
		{"an empty name", auth.NodeUser(""), []string{auth.Nodes}},
	} {
		if code, text := w.as(t, c.user, c.groups...).ask(t, "GET", ns+"/secrets/mine", ""); code != 403 {
			t.Errorf("%s: %d %.200s", c.why, code, text)
		}
	}
}
