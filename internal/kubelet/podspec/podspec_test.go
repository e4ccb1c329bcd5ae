package podspec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"pgregory.net/rapid"
)

func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "B": "$(A)", "EMPTY": ""}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"":             "",
		"plain":        "plain",
		"$(A)":         "1",
		"x$(A)y$(A)":   "x1y1",
		"$(B)":         "$(A)", // what is filled in is not looked at again
		"$(EMPTY)|":    "|",
		"$(NONE)":      "$(NONE)",
		"$$(A)":        "$(A)",
		"$$$(A)":       "$1",
		"$$$$(A)":      "$$(A)",
		"$":            "$",
		"$$":           "$",
		"$A":           "$A",
		"$(A":          "$(A",
		"$(A$(A)":      "$(A$(A)",
		"cost: 5$ $()": "cost: 5$ $()",
	} {
		left := room(maxArguments)
		if got, err := expand(in, lookup, &left); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`[$)Ax]{0,20}`).Draw(t, "in")
		left := room(maxArguments)
		none, err := expand(in, func(string) (string, bool) { return "", false }, &left)
		if err != nil || strings.ReplaceAll(in, "$$", "$") != none {
			t.Fatalf("%q: %q", in, none)
		}
	})
}

// Lines that name each other, or one large object many times, must not make the
// agent hold more than a program could be started with.
func TestArgumentsAreBounded(t *testing.T) {
	bomb := []v1.EnvVar{{Name: "V0", Value: strings.Repeat("x", 100)}}
	for i := range 20 {
		bomb = append(bomb, v1.EnvVar{Name: fmt.Sprintf("V%d", i+1), Value: strings.Repeat(fmt.Sprintf("$(V%d)", i), 100)})
	}
	var named []v1.EnvVar
	var from []v1.EnvFromSource
	key := &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "s"}, Key: "k"}
	for i := range 50 {
		named = append(named, v1.EnvVar{Name: fmt.Sprintf("V%d", i), ValueFrom: &v1.EnvVarSource{SecretKeyRef: key}})
		from = append(from, v1.EnvFromSource{Prefix: fmt.Sprintf("P%d", i), SecretRef: &v1.SecretEnvSource{LocalObjectReference: key.LocalObjectReference}})
	}
	for name, c := range map[string]v1.Container{
		"variables of variables": {Env: bomb},
		"one secret many times":  {Env: named},
		"one secret many ways":   {EnvFrom: from},
	} {
		if _, err := node().Env(&v1.Pod{}, &c, nil, large{}); err == nil || !strings.Contains(err.Error(), "no program is started with as much") {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := []Var{{"V", strings.Repeat("x", 1<<20)}}
	for name, c := range map[string]v1.Container{
		"command":   {Command: []string{strings.Repeat("$(V)", 100)}},
		"arguments": {Command: []string{"a"}, Args: []string{"$(V)$(V)$(V)", "$(V)$(V)$(V)", "$(V)"}},
	} {
		if _, err := node().Container(Run{Pod: &v1.Pod{}, Spec: &c, Env: whole}); err == nil || !strings.Contains(err.Error(), "no program is started with as much") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SubPathExpr(strings.Repeat("$(V)", 100), whole); err == nil {
		t.Error("a subPathExpr of 100 MiB was made")
	}
	fits := v1.Container{Env: []v1.EnvVar{{Name: "A", Value: strings.Repeat("x", 1<<20)}, {Name: "B", Value: "$(A)"}}}
	if _, err := node().Env(&v1.Pod{}, &fits, nil, large{}); err != nil {
		t.Error(err)
	}
}

// large has one large secret.
type large struct{}

func (large) ConfigMap(string, string) (*v1.ConfigMap, error) { return nil, nil }

func (large) Secret(string, string) (*v1.Secret, error) {
	return &v1.Secret{Data: map[string][]byte{"k": make([]byte, 1<<20)}}, nil
}

func node() *Node {
	return &Node{Name: "n", Hostname: "n", IPs: []string{"1.1.1.1"}, ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local",
		Resolver: Resolver{Servers: []string{"9.9.9.9"}, Searches: []string{"corp"}, Options: []string{"timeout:2"}},
		Memory:   1000 << 20, CgroupRoot: "/kubepods", LogDir: "/logs", SeccompDir: "/seccomp"}
}

func TestDNS(t *testing.T) {
	pod := func(p v1.DNSPolicy, host bool, c *v1.PodDNSConfig) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{DNSPolicy: p, HostNetwork: host, DNSConfig: c}}
	}
	three := "3"
	cluster := []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp"}
	for name, c := range map[string]struct {
		pod  *v1.Pod
		want Resolver
	}{
		"cluster":      {pod(v1.DNSClusterFirst, false, nil), Resolver{[]string{"10.96.0.10"}, cluster, []string{"ndots:5"}}},
		"host network": {pod(v1.DNSClusterFirst, true, nil), node().Resolver},
		"host, forced": {pod(v1.DNSClusterFirstWithHostNet, true, nil), Resolver{[]string{"10.96.0.10"}, cluster, []string{"ndots:5"}}},
		"default":      {pod(v1.DNSDefault, false, nil), node().Resolver},
		"none": {pod(v1.DNSNone, false, &v1.PodDNSConfig{Nameservers: []string{"1.2.3.4"}, Searches: []string{"a.b"}, Options: []v1.PodDNSConfigOption{{Name: "debug"}}}),
			Resolver{[]string{"1.2.3.4"}, []string{"a.b"}, []string{"debug"}}},
		"merged": {pod(v1.DNSClusterFirst, false, &v1.PodDNSConfig{Nameservers: []string{"10.96.0.10", "1.2.3.4", "2.2.2.2", "3.3.3.3"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: &three}}}),
			Resolver{[]string{"10.96.0.10", "1.2.3.4", "2.2.2.2"}, cluster, []string{"ndots:3"}}},
	} {
		d := node().dns(c.pod)
		if diff := cmp.Diff(c.want, Resolver{d.Servers, d.Searches, d.Options}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func quantities(cpu, memory string) v1.ResourceList {
	l := v1.ResourceList{}
	if cpu != "" {
		l[v1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[v1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

func TestResources(t *testing.T) {
	one := func(requests, limits v1.ResourceList) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: requests, Limits: limits}}}}}
	}
	for name, c := range map[string]struct {
		pod    *v1.Pod
		cgroup string
		want   *runtimeapi.LinuxContainerResources
	}{
		"best effort": {one(nil, nil), "/kubepods/besteffort/podu", &runtimeapi.LinuxContainerResources{CpuShares: 2, OomScoreAdj: 1000}},
		"burstable": {one(quantities("500m", "100Mi"), nil), "/kubepods/burstable/podu",
			&runtimeapi.LinuxContainerResources{CpuShares: 512, OomScoreAdj: 900}},
		"burstable, all memory": {one(quantities("", "2000Mi"), nil), "/kubepods/burstable/podu", &runtimeapi.LinuxContainerResources{CpuShares: 2, OomScoreAdj: 3}},
		"guaranteed": {one(quantities("2", "1Mi"), quantities("2", "1Mi")), "/kubepods/podu",
			&runtimeapi.LinuxContainerResources{CpuShares: 2048, CpuQuota: 200000, MemoryLimitInBytes: 1 << 20, MemorySwapLimitInBytes: 1 << 20, OomScoreAdj: -997}},
		"a sliver of cpu": {one(nil, quantities("1m", "")), "/kubepods/burstable/podu", &runtimeapi.LinuxContainerResources{CpuShares: 2, CpuQuota: 1000, OomScoreAdj: 999}},
	} {
		n := node()
		got := n.Resources(c.pod, &c.pod.Spec.Containers[0])
		c.want.CpuPeriod = cpuPeriod
		if !proto.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
		if p := n.CgroupParent(c.pod); p != c.cgroup {
			t.Errorf("%s: cgroup %s", name, p)
		}
	}
}

func TestRunAsNonRoot(t *testing.T) {
	yes, root, user := true, int64(0), int64(7)
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}
	const where = `(pod: "p_ns(u)", container: c)`
	for name, c := range map[string]struct {
		spec  *int64
		image Image
		want  string
	}{
		"root asked for": {&root, Image{}, "container's runAsUser breaks non-root policy " + where},
		"user asked for": {&user, Image{}, ""},
		"image's root":   {nil, Image{UID: &root}, "container has runAsNonRoot and image will run as root " + where},
		"image's none":   {nil, Image{}, "container has runAsNonRoot and image will run as root " + where},
		"image's user":   {nil, Image{UID: &user}, ""},
		"image's name":   {nil, Image{Username: "www"}, "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root " + where},
	} {
		container := &v1.Container{Name: "c", SecurityContext: &v1.SecurityContext{RunAsNonRoot: &yes, RunAsUser: c.spec}}
		_, err := node().containerSecurity(pod, container, c.image, "")
		if got := errText(err); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestSecurity(t *testing.T) {
	yes, no := true, false
	local := "profiles/a.json"
	pod := &v1.Pod{Spec: v1.PodSpec{HostPID: true, SecurityContext: &v1.PodSecurityContext{
		SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeLocalhost, LocalhostProfile: &local}}}}
	s, err := node().containerSecurity(pod, &v1.Container{SecurityContext: &v1.SecurityContext{AllowPrivilegeEscalation: &no}}, Image{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if !s.NoNewPrivs || s.Seccomp.LocalhostRef != "/seccomp/profiles/a.json" || s.NamespaceOptions.Pid != runtimeapi.NamespaceMode_NODE || len(s.MaskedPaths) == 0 {
		t.Errorf("%v", s)
	}
	up := "../../etc/x"
	pod.Spec.SecurityContext.SeccompProfile.LocalhostProfile = &up
	if s, _ := node().containerSecurity(pod, &v1.Container{}, Image{}, ""); s.Seccomp.LocalhostRef != "/seccomp/etc/x" {
		t.Errorf("a profile outside of its folder: %s", s.Seccomp.LocalhostRef)
	}
	pod.Spec.SecurityContext = nil
	s, _ = node().containerSecurity(pod, &v1.Container{SecurityContext: &v1.SecurityContext{Privileged: &yes}}, Image{}, "target")
	if !s.Privileged || len(s.MaskedPaths) > 0 || s.Seccomp.ProfileType != runtimeapi.SecurityProfile_Unconfined ||
		s.NamespaceOptions.Pid != runtimeapi.NamespaceMode_TARGET || s.NamespaceOptions.TargetId != "target" {
		t.Errorf("privileged: %v", s)
	}
}

func TestSubPathExpr(t *testing.T) {
	env := []Var{{"NAME", "web"}, {"UP", ".."}}
	for expr, want := range map[string]string{"logs/$(NAME)": "logs/web", "$(NONE)": "!", "a/$(UP)/$(UP)": "!", "$(UP)": "!", "/abs": "!"} {
		got, err := SubPathExpr(expr, env)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %s", expr, got)
		}
	}
}

func TestHostname(t *testing.T) {
	long := strings.Repeat("a", 62) + ".b"
	for _, c := range []struct {
		pod          v1.Pod
		host, domain string
	}{
		{v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "ns"}, Spec: v1.PodSpec{Hostname: "web-0", Subdomain: "web"}}, "web-0", "web.ns.svc.cluster.local"},
		{v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: long}}, strings.Repeat("a", 62), ""},
	} {
		if h, d := node().hostname(&c.pod); h != c.host || d != c.domain {
			t.Errorf("%s %s", h, d)
		}
	}
}
