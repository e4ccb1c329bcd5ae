package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// upstream is Kubernetes' own programs with etcd and containerd, started bare,
// as one node, in a network namespace without an uplink. Clients inside the
// cluster are not throttled, so that no client-side limit decides a comparison.
type upstream struct {
	// others are the namespaces of pods that were there before.
	others      []string
	bin, images string
	processes   []*exec.Cmd
}

// podNamespaces returns those that containerd made for pods.
func podNamespaces() []string {
	all, _ := filepath.Glob("/var/run/netns/cni-*")
	return all
}

func (t *upstream) name() string { return "upstream" }

const (
	peerNS      = "clipper-bench-peer"
	peerAddress = "10.77.0.1"
)

func (t *upstream) start(ctx context.Context) (*cluster, error) {
	t.others = podNamespaces()
	// What is started dies with the thread that started it: this one has to stay.
	runtime.LockOSThread()
	w, err := os.MkdirTemp("", "clipper-peer-")
	if err != nil {
		return nil, err
	}
	c := &cluster{kubeconfig: filepath.Join(w, "kubeconfig"), work: w, dial: dialInNS, load: t.load}
	c.pids = func() (all []int) {
		for _, p := range t.processes {
			all = append(all, p.Process.Pid)
		}
		return all
	}
	if err := t.prepare(ctx, w); err != nil {
		return c, errors.Join(err, t.stop(c))
	}
	if err := t.launch(ctx, c); err != nil {
		return c, errors.Join(err, t.stop(c))
	}
	return c, nil
}

// prepare makes the namespace and the files that the programs read. Its time
// does not count against upstream in any figure but the cold start, of which
// it is a few hundredths of a second.
func (t *upstream) prepare(ctx context.Context, w string) error {
	in := func(args ...string) error {
		return command(ctx, nil, "nsenter", append([]string{"--net=/var/run/netns/" + peerNS}, args...)...)
	}
	err := errors.Join(
		command(ctx, nil, "ip", "netns", "add", peerNS),
		in("ip", "link", "set", "lo", "up"),
		in("ip", "link", "add", "br0", "type", "bridge"),
		in("ip", "addr", "add", peerAddress+"/24", "dev", "br0"),
		in("ip", "link", "set", "br0", "up"),
		in("ip", "route", "add", "default", "via", "10.77.0.254", "dev", "br0"),
		in("sysctl", "-qw", "net.ipv4.ip_forward=1"),
		os.MkdirAll(filepath.Join(w, "certs"), 0o700),
		command(ctx, nil, "openssl", "genrsa", "-out", filepath.Join(w, "certs/sa.key"), "2048"),
	)
	if err != nil {
		return err
	}
	for file, text := range map[string]string{
		"certs/tokens.csv": "admintoken,admin,1,system:masters\n",
		"kubeconfig": `{apiVersion: v1, kind: Config, current-context: x,
clusters: [{name: c, cluster: {server: "https://` + peerAddress + `:6443", insecure-skip-tls-verify: true}}],
users: [{name: u, user: {token: admintoken}}], contexts: [{name: x, context: {cluster: c, user: u}}]}`,
		"cni/10-bridge.conflist": `{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"host-local","dataDir":"` + w + `/ipam","ranges":[[{"subnet":"10.88.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}`,
		"containerd.toml": `version = 3
root = "` + w + `/containerd"
state = "` + w + `/containerd-run"
[grpc]
  address = "` + w + `/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "registry.k8s.io/pause:3.10"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["` + t.bin + `"]
    conf_dir = "` + w + `/cni"
`,
		// Not in braces: the kubelet would take it for JSON.
		"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: "unix://` + w + `/containerd.sock"
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
maxPods: 500
serializeImagePulls: false
`,
	} {
		path := filepath.Join(w, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

func (t *upstream) launch(ctx context.Context, c *cluster) error {
	w, kc := c.work, c.kubeconfig
	key := w + "/certs/sa.key"
	run := func(name string, args ...string) error {
		log, err := os.Create(filepath.Join(w, name+".log"))
		if err != nil {
			return err
		}
		defer log.Close()
		cmd := exec.Command("nsenter", append([]string{"--net=/var/run/netns/" + peerNS, filepath.Join(t.bin, name)}, args...)...)
		cmd.Env = append(os.Environ(), "PATH="+t.bin+":"+os.Getenv("PATH"))
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		t.processes = append(t.processes, cmd)
		return cmd.Start()
	}
	err := errors.Join(
		run("etcd", "--data-dir", w+"/etcd", "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380"),
		run("containerd", "-c", w+"/containerd.toml"),
		run("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--cert-dir="+w+"/certs", "--secure-port=6443", "--bind-address=0.0.0.0", "--advertise-address="+peerAddress,
			"--service-cluster-ip-range=10.96.0.0/16", "--token-auth-file="+w+"/certs/tokens.csv", "--authorization-mode=Node,RBAC",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key, "--service-account-signing-key-file="+key, "--allow-privileged=true", "--kubelet-preferred-address-types=InternalIP"),
		run("kube-controller-manager", "--kubeconfig="+kc, "--service-account-private-key-file="+key, "--use-service-account-credentials=false", "--cluster-cidr=10.88.0.0/16", "--allocate-node-cidrs=false", "--kube-api-qps=5000", "--kube-api-burst=5000"),
		run("kube-scheduler", "--kubeconfig="+kc, "--kube-api-qps=5000", "--kube-api-burst=5000"),
	)
	if err != nil {
		return err
	}
	// The kubelet gives up if the runtime is not there.
	if err := every(ctx, 20*time.Millisecond, func() bool { _, err := os.Stat(w + "/containerd.sock"); return err == nil }); err != nil {
		return err
	}
	err = errors.Join(
		run("kubelet", "--kubeconfig="+kc, "--config="+w+"/kubelet.yaml", "--root-dir="+w+"/kubelet", "--hostname-override=node0", "--node-ip="+peerAddress),
		run("kube-proxy", "--kubeconfig="+kc, "--proxy-mode=nftables", "--conntrack-max-per-core=0", "--conntrack-min=0", "--cluster-cidr=10.88.0.0/16", "--hostname-override=node0"),
	)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	return every(ctx, 20*time.Millisecond, func() bool {
		n, err := client.CoreV1().Nodes().Get(ctx, "node0", metav1.GetOptions{})
		if err != nil {
			return false
		}
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
				return err == nil
			}
		}
		return false
	})
}

func every(ctx context.Context, pause time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

func (t *upstream) load(ctx context.Context, c *cluster) error {
	return command(ctx, nil, filepath.Join(t.bin, "ctr"), "-a", c.work+"/containerd.sock", "-n", "k8s.io", "images", "import", t.images)
}

func (t *upstream) stop(c *cluster) error {
	for _, p := range t.processes {
		if p.Process != nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	}
	t.processes = nil
	// What containerd's shims hold.
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		data, _ := os.ReadFile(p)
		if bytes.Contains(data, []byte("containerd-shim")) && bytes.Contains(data, []byte(c.work)) {
			pid, _ := strconv.Atoi(strings.Split(p, "/")[2])
			children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
			for _, child := range strings.Fields(string(children)) {
				if n, err := strconv.Atoi(child); err == nil {
					_ = unix.Kill(n, unix.SIGKILL)
				}
			}
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 1 && strings.HasPrefix(f[1], c.work) {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
	err := command(context.Background(), nil, "ip", "netns", "del", peerNS)
	// Pods that were killed with their runtime leave their namespaces behind.
	for _, pod := range podNamespaces() {
		if !slices.Contains(t.others, pod) {
			err = errors.Join(err, command(context.Background(), nil, "ip", "netns", "del", filepath.Base(pod)))
		}
	}
	return errors.Join(err, os.RemoveAll(c.work))
}

// dialInNS opens a connection from within the peer's network namespace.
func dialInNS(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		ns, err := os.Open("/var/run/netns/" + peerNS)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
