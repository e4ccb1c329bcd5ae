package nodes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"clipper/internal/auth"
	"clipper/test/cgroup"
	"clipper/test/cluster"
)

// stolen: with an agent's key and certificate, all that can be had is its own
// node's.
func stolen(t *testing.T, c *cluster.Cluster, pods map[string]*corev1.Pod) {
	ctx := t.Context()
	thief, victim := c.Name+"-2", c.Name+"-3"
	pair := filepath.Join("/var/lib/clipper", c.Name, thief, "pki", "kubelet-client.pem")
	if info, err := os.Stat(pair); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	as := func(impersonate rest.ImpersonationConfig) kubernetes.Interface {
		t.Helper()
		admin := c.RestConfig()
		k, err := kubernetes.NewForConfig(&rest.Config{
			Host: admin.Host, Impersonate: impersonate,
			TLSClientConfig: rest.TLSClientConfig{CertFile: pair, KeyFile: pair, CAData: admin.CAData},
		})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	network := func(node string, groups ...string) rest.ImpersonationConfig {
		return rest.ImpersonationConfig{UserName: auth.NodeNetworkUser(node), Groups: groups}
	}
	node, own := as(rest.ImpersonationConfig{}), as(network(thief, auth.NodeNetworks))
	get := metav1.GetOptions{}
	for name, try := range map[string]struct {
		allowed bool
		do      func() error
	}{
		"its Node":       {true, func() error { _, err := node.CoreV1().Nodes().Get(ctx, thief, get); return err }},
		"its pod":        {true, func() error { _, err := node.CoreV1().Pods("default").Get(ctx, pods[thief].Name, get); return err }},
		"another's Node": {false, func() error { _, err := node.CoreV1().Nodes().Get(ctx, victim, get); return err }},
		"all nodes":      {false, func() error { _, err := node.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); return err }},
		"another's pod":  {false, func() error { _, err := node.CoreV1().Pods("default").Get(ctx, pods[victim].Name, get); return err }},
		"a Secret": {false, func() error {
			_, err := node.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})
			return err
		}},
		"an approval": {false, func() error {
			_, err := node.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, "x", &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.UpdateOptions{})
			return err
		}},
		"a token": {false, func() error {
			_, err := node.CoreV1().Secrets("kube-system").Create(ctx, auth.BootstrapToken{ID: "abcdef", Secret: "0123456789abcdef"}.AsSecret("", time.Time{}), metav1.CreateOptions{})
			return err
		}},
		"its network, nodes":    {true, func() error { _, err := own.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); return err }},
		"its network, Services": {true, func() error { _, err := own.CoreV1().Services("").List(ctx, metav1.ListOptions{}); return err }},
		"its network, Secrets":  {false, func() error { _, err := own.CoreV1().Secrets("").List(ctx, metav1.ListOptions{}); return err }},
		"its network, pods":     {false, func() error { _, err := own.CoreV1().Pods("").List(ctx, metav1.ListOptions{}); return err }},
		"another's network": {false, func() error {
			_, err := as(network(victim, auth.NodeNetworks)).CoreV1().Services("").List(ctx, metav1.ListOptions{})
			return err
		}},
		"a greater group": {false, func() error {
			_, err := as(network(thief, auth.Masters)).CoreV1().Services("").List(ctx, metav1.ListOptions{})
			return err
		}},
		"a user": {false, func() error {
			_, err := as(rest.ImpersonationConfig{UserName: auth.Admin}).CoreV1().Services("").List(ctx, metav1.ListOptions{})
			return err
		}},
	} {
		if err := try.do(); (err == nil) != try.allowed || err != nil && !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// newAgent returns the command of an agent that is to join the cluster under a name.
func newAgent(ctx context.Context, t *testing.T, server, name, token string) *exec.Cmd {
	dir := t.TempDir()
	return exec.CommandContext(ctx, cluster.Program(t), "agent", "--server", server, "--node-name", name, "--node-ip", "192.0.2.99",
		"--token", token, "--state-dir", filepath.Join(dir, "state"), "--run-dir", filepath.Join(dir, "run"))
}

// refused: who may not join is told why, at once.
func refused(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	client := c.Client()
	server := "https://" + nodeAddress(ctx, t, client, c.Node()) + ":6443"
	good := strings.TrimSpace(c.Clipper("token", "create", "--name", c.Name))
	id, rest, _ := strings.Cut(good, ".")
	secret, hash, _ := strings.Cut(rest, "@")
	if out := c.Clipper("token", "ls", "--name", c.Name); !strings.Contains(out, id) || strings.Contains(out, secret) {
		t.Errorf("tokens: %s", out)
	}
	expired := auth.BootstrapToken{ID: "expire", Secret: "0123456789abcdef"}
	s := expired.AsSecret("", time.Now().Add(-time.Hour))
	if _, err := client.CoreV1().Secrets("kube-system").Create(ctx, s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, try := range []struct{ server, name, token, want string }{
		{server, "n", "nonsense", "not one of the form"},
		{server, "n", id + ".0000000000000000@" + hash, "does not know the token, or it has expired"},
		{server, "n", expired.String() + "@" + hash, "does not know the token, or it has expired"},
		{server, "n", id + "." + secret + "@sha256:" + strings.Repeat("0", 64), "is not the server that the token is of"},
		{server, c.Name + "-3", good, "its name is taken"},
		{"http" + server[5:], "n", good, "not of the form https://HOST:PORT"},
		{server, "n", "", "has not joined a cluster yet"},
	} {
		out, err := newAgent(ctx, t, try.server, try.name, try.token).CombinedOutput()
		if err == nil || !strings.Contains(string(out), try.want) {
			t.Errorf("%+v: %v\n%s", try, err, out)
		}
	}
	c.Clipper("token", "delete", "--name", c.Name, id)
	if out, err := newAgent(ctx, t, server, "n", good).CombinedOutput(); err == nil || !strings.Contains(string(out), "does not know the token") {
		t.Errorf("a deleted token: %v\n%s", err, out)
	}
	if all, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err != nil || len(all.Items) != count {
		t.Errorf("%d nodes, %v", len(all.Items), err)
	}
}

func nodeAddress(ctx context.Context, t *testing.T, client kubernetes.Interface, name string) string {
	t.Helper()
	n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n.Status.Addresses[0].Address
}

// foreground is a server or an agent in namespaces of its own.
type foreground struct {
	cmd   *exec.Cmd
	log   *lines
	ended chan struct{}
	err   error // once ended
}

// lines collects what is written, and tells when it holds a text.
type lines struct {
	text  bytes.Buffer
	wants string
	seen  chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	had := strings.Contains(l.text.String(), l.wants)
	l.text.Write(p)
	if !had && strings.Contains(l.text.String(), l.wants) {
		close(l.seen)
	}
	return len(p), nil
}

// run starts clipper in a network of its own: plugged into the bridge of hub, or
// with a bridge that others are plugged into.
func run(ctx context.Context, t *testing.T, hub *foreground, address string, args ...string) *foreground {
	t.Helper()
	script := `ip link set lo up; ip link add eth0 type bridge; ip addr add "$0"/24 dev eth0; ip link set eth0 up; exec "$@"`
	if hub != nil {
		// The other end goes to the hub's network, where the bridge is.
		script = fmt.Sprintf(`ip link set lo up; ip link add eth0 type veth peer name p$$ netns %d
			nsenter --net=/proc/%[1]d/ns/net sh -c "ip link set p$$ master eth0; ip link set p$$ up"
			ip addr add "$0"/24 dev eth0; ip link set eth0 up; exec "$@"`, hub.cmd.Process.Pid)
	}
	f := &foreground{
		cmd: exec.CommandContext(ctx, "unshare", append([]string{"--net", "--mount", "sh", "-euc", script, address, cluster.Program(t)}, args...)...),
		log: &lines{wants: "msg=ready", seen: make(chan struct{})}, ended: make(chan struct{}),
	}
	f.cmd.Stderr = f.log
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		f.err = f.cmd.Wait()
		close(f.ended)
	}()
	t.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		<-f.ended
		if t.Failed() {
			t.Logf("%v:\n%s", args, &f.log.text)
		}
	})
	select {
	case <-f.log.seen:
	case <-f.ended:
		t.Fatalf("%v ended: %v\n%s", args, f.err, &f.log.text)
	}
	return f
}

// TestAgent: a server and an agent as service managers run them; the agent
// needs its token once.
func TestAgent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	names := [2]string{fmt.Sprintf("test-%d-a", os.Getpid()), fmt.Sprintf("test-%d-b", os.Getpid())}
	t.Cleanup(func() {
		for _, name := range names {
			cgroup.Kill(t, "server/"+name)
			cgroup.Remove(t, "server/"+name)
		}
	})
	flags := func(i int) []string {
		at := filepath.Join(dir, names[i])
		return []string{"--node-name", names[i], "--node-ip", fmt.Sprintf("192.0.2.1%d", i), "--uplink=false", "--state-dir", at + "/state", "--run-dir", at + "/run"}
	}
	hub := run(ctx, t, nil, "192.0.2.10", append([]string{"server"}, flags(0)...)...)
	clipper := func(args ...string) string {
		t.Helper()
		at := fmt.Sprintf("--net=/proc/%d/ns/net", hub.cmd.Process.Pid)
		out, err := exec.CommandContext(ctx, "nsenter", append([]string{at, cluster.Program(t)}, args...)...).Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	config := filepath.Join(dir, names[0], "state/admin.kubeconfig")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(clipper("token", "create", "--kubeconfig", config)), 0o600); err != nil {
		t.Fatal(err)
	}
	join := append([]string{"agent", "--server", "https://192.0.2.10:6443"}, flags(1)...)
	agent := run(ctx, t, hub, "192.0.2.11", append(join, "--token-file", token)...)
	nodes := func() string {
		return clipper("kubectl", "--kubeconfig", config, "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.conditions[?(@.type=="Ready")].status};{end}`)
	}
	want := names[0] + " 10.42.0.0/24 True;" + names[1] + " 10.42.1.0/24 True;"
	if got := nodes(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := agent.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if <-agent.ended; agent.err != nil {
		t.Errorf("after SIGINT: %v", agent.err)
	}
	run(ctx, t, hub, "192.0.2.11", join...)
	if got := nodes(); got != want {
		t.Errorf("after a restart: %s, want %s", got, want)
	}
}
