// Package nodes runs clusters of several nodes: how they join, what crosses
// from one to another, and what becomes of a node that dies.
package nodes

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"clipper/test/cluster"
	"clipper/test/leftover"
)

const count = 3

// awaitPods returns the pods of the app by node, once there is a Ready one on
// each node.
func awaitPods(ctx context.Context, t *testing.T, client kubernetes.Interface) map[string]*corev1.Pod {
	t.Helper()
	byNode := map[string]*corev1.Pod{}
	lw := cache.NewFilteredListWatchFromClient(client.CoreV1().RESTClient(), "pods", "default", func(o *metav1.ListOptions) { o.LabelSelector = "app=web" })
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		p := e.Object.(*corev1.Pod)
		delete(byNode, p.Spec.NodeName)
		if e.Type != watch.Deleted && p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			byNode[p.Spec.NodeName] = p
		}
		return len(byNode) == count, nil
	})
	if err != nil {
		t.Fatalf("pods run on %d nodes: %v", len(byNode), err)
	}
	return byNode
}

// awaitNode returns once the node is as wanted.
func awaitNode(ctx context.Context, t *testing.T, client kubernetes.Interface, name string, wanted func(*corev1.Node) bool) {
	t.Helper()
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "nodes", "", fields.OneTermEqualSelector("metadata.name", name))
	last := &corev1.Node{}
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.Node{}, nil, func(e watch.Event) (bool, error) {
		last = e.Object.(*corev1.Node)
		return wanted(last), nil
	})
	if err != nil {
		t.Fatalf("node %s: %v; %+v %+v", name, err, last.Status.Conditions, last.Spec.Taints)
	}
}

func ready(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return ""
}

func deploy(ctx context.Context, t *testing.T, client kubernetes.Interface) *corev1.Service {
	t.Helper()
	labels := map[string]string{"app": "web"}
	if _, err := client.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(count)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
					MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
					LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
				}},
				Containers: []corev1.Container{{Name: "c", Image: "docker.io/myregistry/api:v1"}},
			}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	svc, err := client.CoreV1().Services("default").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: labels,
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// get asks for a page until it comes, and returns its first line.
func get(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		resp, err := client.Get(url)
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			line, _, _ := strings.Cut(string(body), "\n")
			return line
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", url, err)
		}
	}
}

// TestNodes: what a cluster does works whatever node it is on, and a node's
// death is noticed, and mended by a start.
func TestNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c := cluster.Start(t, "--nodes", fmt.Sprint(count))
	c.LoadImages()
	client := c.Client()

	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(nodes.Items) != count {
		t.Fatalf("%d nodes, %v", len(nodes.Items), err)
	}
	shares := map[string]bool{}
	for _, n := range nodes.Items {
		if ready(&n) != corev1.ConditionTrue || len(n.Spec.PodCIDRs) != 1 || shares[n.Spec.PodCIDR] {
			t.Errorf("node %s: %+v, %+v", n.Name, n.Spec, n.Status.Conditions)
		}
		shares[n.Spec.PodCIDR] = true
	}

	svc := deploy(ctx, t, client)
	pods := awaitPods(ctx, t, client)
	for _, n := range nodes.Items {
		// From the machine: by the node's port, and straight to the pod.
		if line := get(ctx, t, fmt.Sprintf("http://%s:%d/", n.Status.Addresses[0].Address, svc.Spec.Ports[0].NodePort)); !strings.HasPrefix(line, "web-") {
			t.Errorf("node port of %s: %q", n.Name, line)
		}
		p := pods[n.Name]
		if line := get(ctx, t, "http://"+p.Status.PodIP+":8080/"); !strings.HasPrefix(line, p.Name) {
			t.Errorf("pod %s of %s: %q", p.Name, n.Name, line)
		}
		// From this node's pod: each pod, the Service by name, and out of the pod's log.
		for _, other := range pods {
			if out := c.Kubectl("exec", p.Name, "--", "/web", "get", "http://"+other.Status.PodIP+":8080/seen"); !strings.HasPrefix(out, other.Name) {
				t.Errorf("pod on %s from %s: %q", other.Spec.NodeName, n.Name, out)
			}
		}
		if out := c.Kubectl("exec", p.Name, "--", "/web", "get", "http://web.default.svc.cluster.local/"); !strings.HasPrefix(out, "web-") {
			t.Errorf("Service from %s: %q", n.Name, out)
		}
		if out := c.Kubectl("logs", p.Name); !strings.Contains(out, "/seen") {
			t.Errorf("log of the pod on %s: %q", n.Name, out)
		}
	}
	if line := get(ctx, t, "http://"+svc.Spec.ClusterIP+"/"); !strings.HasPrefix(line, "web-") {
		t.Errorf("the Service: %q", line)
	}

	t.Run("a stolen node", func(t *testing.T) { stolen(t, c, pods) })
	t.Run("refused", func(t *testing.T) { refused(ctx, t, c) })

	// An agent dies: its pods run on, others learn of it, and a start brings it back.
	dead := c.Name + "-2"
	c.KillNode(dead, "server")
	if line := get(ctx, t, "http://"+pods[dead].Status.PodIP+":8080/"); !strings.HasPrefix(line, pods[dead].Name) {
		t.Errorf("a pod of a node whose agent died: %q", line)
	}
	awaitNode(ctx, t, client, dead, func(n *corev1.Node) bool {
		return ready(n) == corev1.ConditionUnknown && slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
			return t.Key == corev1.TaintNodeUnreachable && t.Effect == corev1.TaintEffectNoExecute
		})
	})
	c.Resume()
	awaitNode(ctx, t, client, dead, func(n *corev1.Node) bool {
		return ready(n) == corev1.ConditionTrue && len(n.Spec.Taints) == 0
	})
	after := awaitPods(ctx, t, client)
	for node, p := range pods {
		q := after[node]
		if q.UID != p.UID || q.Status.PodIP != p.Status.PodIP || q.Status.ContainerStatuses[0].ContainerID != p.Status.ContainerStatuses[0].ContainerID {
			t.Errorf("the pod on %s was %+v and is %+v", node, p.Status.ContainerStatuses, q.Status.ContainerStatuses)
		}
	}

	// The server dies: agents go on, and find it again.
	c.KillServer()
	c.Resume()
	for node, p := range awaitPods(ctx, t, client) {
		if p.UID != pods[node].UID {
			t.Errorf("pod %s on %s took the place of %s", p.Name, node, pods[node].Name)
		}
		if out := c.Kubectl("exec", p.Name, "--", "/web", "get", "http://web/"); !strings.HasPrefix(out, "web-") {
			t.Errorf("Service from %s: %q", node, out)
		}
	}
}

// TestStopAndGrow: a stopped cluster comes back with its nodes and what they
// have, and takes more nodes, running or not.
func TestStopAndGrow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := cluster.Start(t, "--nodes", "2")
	client := c.Client()
	list := func() map[string]string {
		t.Helper()
		all, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		shares := map[string]string{}
		for _, n := range all.Items {
			shares[n.Name] = string(n.UID) + " " + n.Spec.PodCIDR
		}
		return shares
	}
	before := list()
	c.Clipper("stop", "--name", c.Name)
	c.Resume()
	if after := list(); !maps.Equal(before, after) || len(after) != 2 {
		t.Errorf("nodes were %v and are %v", before, after)
	}
	c.Resume("--nodes", "3") // while the others run
	after := list()
	if len(after) != 3 || after[c.Name+"-2"] != before[c.Name+"-2"] {
		t.Errorf("nodes were %v and are %v", before, after)
	}
	if _, err := c.Try("start", "--name", c.Name, "--nodes", "2"); err == nil || !strings.Contains(err.Error(), "has 3 node(s)") {
		t.Error(err)
	}
	c.Clipper("status", "--name", c.Name)
	c.Clipper("delete", "--name", c.Name)
	for _, l := range leftover.Of(c.Name) {
		t.Errorf("still there: %s", l)
	}
}

// TestCutOff: a start that is killed leaves nothing that a delete does not find.
func TestCutOff(t *testing.T) {
	for _, step := range []string{"starting node", "joining", "Ready"} {
		c := cluster.Reserve(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := c.Command(ctx, cluster.Program(t), "start", "--name", c.Name, "--no-uplink", "--nodes", "3")
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for b := make([]byte, 256); !strings.Contains(all.String(), step); {
			n, err := said.Read(b)
			all.Write(b[:n])
			if err != nil {
				t.Fatalf("it ended before %q: %s", step, &all)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		cancel()
		c.Clipper("delete", "--name", c.Name)
		for _, l := range leftover.Of(c.Name) {
			t.Errorf("after %q still there: %s", step, l)
		}
	}
}
