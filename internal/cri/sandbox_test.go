package cri

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSandboxIsTold(t *testing.T) {
	b := newBench(t)
	id, config := b.pod(func(c *runtimeapi.PodSandboxConfig) {
		c.PortMappings = []*runtimeapi.PortMapping{{Protocol: runtimeapi.Protocol_UDP, ContainerPort: 53, HostPort: 5353, HostIp: "127.0.0.1"}, {ContainerPort: 80}}
	})
	resp, err := b.PodSandboxStatus(b.ctx, id, false)
	if err != nil {
		t.Fatal(err)
	}
	st := resp.Status
	if st.State != runtimeapi.PodSandboxState_SANDBOX_READY || st.Network.Ip != "10.1.2.3" || len(st.Network.AdditionalIps) != 1 || st.Network.AdditionalIps[0].Ip != "fd00::3" {
		t.Errorf("status %v", st)
	}
	given := b.cfg.Network.(*wired).pods[id]
	want := Sandbox{
		ID: id, Namespace: "default", Name: "pod", UID: "uid", NetNS: b.runPath("sandboxes", id, "net"),
		Ports: []PortMapping{{Protocol: "UDP", ContainerPort: 53, HostPort: 5353, HostIP: "127.0.0.1"}},
	}
	if diff := cmp.Diff(want, given); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		filter *runtimeapi.PodSandboxFilter
		want   int
	}{
		{nil, 1},
		{&runtimeapi.PodSandboxFilter{Id: id[:12]}, 1},
		{&runtimeapi.PodSandboxFilter{Id: "nosuch"}, 0},
		{&runtimeapi.PodSandboxFilter{LabelSelector: config.Labels}, 1},
		{&runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"app": "other"}}, 0},
		{&runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY}}, 0},
	} {
		list, err := b.ListPodSandbox(b.ctx, tc.filter)
		if err != nil || len(list) != tc.want {
			t.Errorf("%v: %v %v", tc.filter, list, err)
		}
	}
	if _, err := b.RunPodSandbox(b.ctx, config, "nosuch"); err == nil || !strings.Contains(err.Error(), `no runtime for "nosuch" is configured`) {
		t.Errorf("unknown handler: %v", err)
	}
	if err := b.StopPodSandbox(b.ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.StopPodSandbox(b.ctx, id); err != nil {
		t.Errorf("again: %v", err)
	}
	if len(b.cfg.Network.(*wired).pods) != 0 {
		t.Error("the network was not torn down")
	}
	if err := b.RemovePodSandbox(b.ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.RemovePodSandbox(b.ctx, id); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := b.PodSandboxStatus(b.ctx, id, false); err == nil {
		t.Error("a removed sandbox is known")
	}
}

// shares tells which namespaces two containers have in common: of net, ipc,
// uts, pid, mnt.
func shares(a, b string) string {
	x, y := strings.Fields(a), strings.Fields(b)
	var same []string
	for i := range x {
		if i < len(y) && x[i] == y[i] {
			kind, _, _ := strings.Cut(x[i], ":")
			same = append(same, kind)
		}
	}
	return strings.Join(same, " ")
}

func TestNamespaces(t *testing.T) {
	b := newBench(t)
	node := b.ids(t)
	for _, tc := range []struct {
		name              string
		options           *runtimeapi.NamespaceOption
		withPod, withNode string
	}{
		{"ordinary", &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}, "net ipc uts", ""},
		{"shared processes", &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_POD}, "net ipc uts pid", ""},
		{"network of the node", &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_CONTAINER}, "net ipc uts", "net uts"},
		{"all of the node", &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_NODE, Ipc: runtimeapi.NamespaceMode_NODE}, "net ipc uts pid", "net ipc uts pid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod, _ := b.pod(func(c *runtimeapi.PodSandboxConfig) {
				c.Metadata.Uid = tc.name
				c.LogDirectory = t.TempDir()
				c.Linux.SecurityContext.NamespaceOptions = tc.options
			})
			var logs [2]string // of namespaces
			for i, name := range []string{"a", "b"} {
				// Both live at once: a namespace's number is used again when it ends.
				c := b.config(name, "sleep")
				c.Linux.SecurityContext.NamespaceOptions = tc.options
				out, _, err := b.ExecSync(b.ctx, b.start(pod, c), []string{"/guest", "ids"}, 0)
				if err != nil {
					t.Fatal(err)
				}
				logs[i] = string(out)
			}
			if got := shares(logs[0], logs[1]); got != tc.withPod {
				t.Errorf("containers share %q, want %q", got, tc.withPod)
			}
			if got := shares(logs[0], node); got != tc.withNode {
				t.Errorf("the node shares %q, want %q", got, tc.withNode)
			}
			if err := b.RemovePodSandbox(b.ctx, pod); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTargetsProcesses(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	target := b.start(pod, b.config("target", "sleep"))
	c := b.config("debug", "who")
	c.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: target}
	_, logs := b.run(pod, c)
	if f := strings.Fields(logs); f[len(f)-1] == "1" {
		t.Errorf("it is a first process: %q", logs)
	}
}

func TestSysctls(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}
	})
	_, logs := b.run(pod, b.config("c", "read", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shm_rmid_forced", "/proc/sys/net/ipv4/ip_unprivileged_port_start"))
	if logs != "1\n1\n0\n" {
		t.Error(logs)
	}
}
