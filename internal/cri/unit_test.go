package cri

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/image"
)

func TestWithoutASupervisor(t *testing.T) {
	r, err := New(Config{StateDir: t.TempDir(), RunDir: t.TempDir(), Network: &wired{}, SupervisorPath: "/nosuch", ReadySandboxes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, errNoSupervisor) || !strings.Contains(err.Error(), "open /nosuch: no such file") {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no folders": {Network: &wired{}},
		"long path":  {StateDir: "/x", RunDir: "/" + strings.Repeat("x", 100), Network: &wired{}},
		"no network": {StateDir: "/x", RunDir: "/x"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestCommand(t *testing.T) {
	img := &image.Settings{Entrypoint: []string{"entry"}, Cmd: []string{"cmd"}}
	for _, tc := range []struct {
		command, args []string
		img           *image.Settings
		want          string
	}{
		{nil, nil, img, "entry cmd"},
		{nil, []string{"a"}, img, "entry a"},
		{[]string{"c"}, nil, img, "c"},
		{[]string{"c"}, []string{"a"}, img, "c a"},
		{nil, nil, &image.Settings{Cmd: []string{"cmd"}}, "cmd"},
		{nil, nil, &image.Settings{}, "no command specified"},
	} {
		got, err := command(&runtimeapi.ContainerConfig{Command: tc.command, Args: tc.args}, tc.img)
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != tc.want {
			t.Errorf("%v %v: %q, want %q", tc.command, tc.args, text, tc.want)
		}
	}
}

func TestSignalNumber(t *testing.T) {
	for name, want := range map[string]unix.Signal{
		"": unix.SIGTERM, "SIGINT": unix.SIGINT, "int": unix.SIGINT, "9": unix.SIGKILL, "nosuch": unix.SIGTERM,
		"SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMIN+3": 37, "SIGRTMINPLUS3": 37, "SIGRTMAX": 64, "SIGRTMAX-2": 62, "SIGRTMAXMINUS2": 62,
		"65": unix.SIGTERM, "-1": unix.SIGTERM,
	} {
		if got := signalNumber(name); got != want {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
	}
	// Every name that CRI can carry means a signal.
	for name, n := range runtimeapi.Signal_value {
		if n != 0 && name != "SIGTERM" && signalNumber(name) == unix.SIGTERM {
			t.Errorf("%s means nothing", name)
		}
	}
}

func TestCapabilities(t *testing.T) {
	all := map[string]bool{}
	for _, name := range capabilityNames {
		all[name] = true
	}
	sc := func(add, drop []string) *runtimeapi.LinuxContainerSecurityContext {
		return &runtimeapi.LinuxContainerSecurityContext{Capabilities: &runtimeapi.Capability{AddCapabilities: add, DropCapabilities: drop}}
	}
	for _, tc := range []struct {
		name string
		sc   *runtimeapi.LinuxContainerSecurityContext
		want []string
	}{
		{"default", nil, defaultCapabilities[:]},
		{"add", sc([]string{"net_admin"}, nil), append(slices.Clone(defaultCapabilities[:]), "CAP_NET_ADMIN")},
		{"drop all, add one", sc([]string{"CAP_CHOWN"}, []string{"all"}), []string{"CAP_CHOWN"}},
		{"add all, drop one", sc([]string{"ALL"}, []string{"SYS_ADMIN"}), slices.DeleteFunc(slices.Clone(capabilityNames[:]), func(n string) bool { return n == "CAP_SYS_ADMIN" })},
		{"privileged", &runtimeapi.LinuxContainerSecurityContext{Privileged: true}, capabilityNames[:]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := capabilities(tc.sc, all)
			want := slices.Sorted(slices.Values(tc.want))
			if diff := cmp.Diff(want, slices.Sorted(slices.Values(got.Bounding))); diff != "" {
				t.Error(diff)
			}
			if len(got.Ambient)+len(got.Inheritable) != 0 {
				t.Errorf("ambient %v, inheritable %v", got.Ambient, got.Inheritable)
			}
		})
	}
	// What this process lacks it cannot give.
	lacking := map[string]bool{"CAP_CHOWN": true}
	if got := capabilities(&runtimeapi.LinuxContainerSecurityContext{Privileged: true}, lacking); !slices.Equal(got.Effective, []string{"CAP_CHOWN"}) {
		t.Error(got.Effective)
	}
}

func TestSeccompFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"` + string(nativeArch[runtime.GOARCH]) + `","subArchitectures":["SCMP_ARCH_X86"]},{"architecture":"SCMP_ARCH_MIPS"}],
	"syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"},{"name":"open","action":"SCMP_ACT_ALLOW"},
	{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
	{"names":["chroot"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_CHOWN"]}},
	{"names":["mips"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["mips"]}}]}`)
	got, err := seccompFile(path, []string{"CAP_CHOWN"})
	if err != nil {
		t.Fatal(err)
	}
	want := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{nativeArch[runtime.GOARCH], specs.ArchX86},
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"read", "write"}, Action: specs.ActAllow}, {Names: []string{"open"}, Action: specs.ActAllow}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{"no JSON": "{", "too large": strings.Repeat(" ", maxProfile+1)} {
		write(text)
		if _, err := seccompFile(path, nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := seccompFile(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a missing file is taken")
	}
}

// The tables of the default filter have no doubles, and names only.
func TestDefaultSeccomp(t *testing.T) {
	if !slices.IsSortedFunc(everyone, func(a, b string) int {
		return strings.Compare(strings.TrimPrefix(a, "_"), strings.TrimPrefix(b, "_"))
	}) {
		t.Error("the list is not in order")
	}
	for _, caps := range [][]string{nil, defaultCapabilities[:], capabilityNames[:]} {
		p := defaultSeccomp(caps, nil)
		names := p.Syscalls[0].Names
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Error("doubles")
		}
		for _, name := range []string{"keyctl", "add_key", "request_key", "kexec_load", "swapon", "userfaultfd", "io_uring_setup", "nfsservctl"} {
			if slices.Contains(names, name) {
				t.Errorf("%s is allowed with %v", name, caps)
			}
		}
		admin := slices.Contains(caps, "CAP_SYS_ADMIN")
		for _, name := range []string{"mount", "setns", "unshare", "bpf", "clone3"} {
			if slices.Contains(names, name) != admin {
				t.Errorf("%s with %v", name, caps)
			}
		}
	}
}

func TestPauseProgram(t *testing.T) {
	for arch, p := range pauseCode {
		if (64+56+len(p.code))%8 != 0 {
			t.Errorf("%s: the sigaction is not aligned", arch)
		}
		b, err := pauseProgram(arch)
		if err != nil || string(b[:4]) != "\x7fELF" || binary.LittleEndian.Uint16(b[18:]) != p.machine {
			t.Errorf("%s: % x %v", arch, b, err)
		}
	}
	if _, err := pauseProgram("mips"); err == nil {
		t.Error("a program for an unknown machine")
	}
}

func TestResolveUser(t *testing.T) {
	root := t.TempDir()
	os.Mkdir(filepath.Join(root, "etc"), 0o755)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("passwd", "# comment\nroot:x:0:0\nweb:x:33:34:web:/:\nbad:x:-1:0\nhuge:x:4294967296:1\n")
	put("group", "root:x:0:\nweb:x:34:\nextra:x:40:web,other\nlog:x:41:other\n")
	id := func(v int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: v} }
	for _, tc := range []struct {
		name  string
		image string
		sc    *runtimeapi.LinuxContainerSecurityContext
		want  string
	}{
		{"nothing", "", nil, "0:0 [0]"},
		{"name", "web", nil, "33:34 [34 40]"},
		{"number that has a name", "33", nil, "33:34 [34 40]"},
		{"number without a name", "500", nil, "500:0 [0]"},
		{"name and group", "web:log", nil, "33:41 [40 41]"},
		{"numbers", "7:8", nil, "7:8 [8]"},
		{"group alone", ":log", nil, "0:41 [41]"},
		{"the context wins", "web", &runtimeapi.LinuxContainerSecurityContext{RunAsUser: id(7)}, "7:0 [0]"},
		{"group of the context", "web", &runtimeapi.LinuxContainerSecurityContext{RunAsGroup: id(9)}, "33:9 [9 40]"},
		{"unknown name", "nosuch", nil, "unable to find user nosuch: no matching entries in passwd file"},
		{"unknown group", "web:nosuch", nil, "unable to find group nosuch: no matching entries in group file"},
		{"negative in passwd", "bad", nil, "unable to find user bad: no matching entries in passwd file"},
		{"too large in passwd", "huge", nil, "unable to find user huge: no matching entries in passwd file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := resolveUser(root, tc.image, tc.sc)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = fmt.Sprintf("%d:%d %v", u.Uid, u.Gid, u.SupplementalGroups)
			}
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	// Files that lead out of the image, or are no files, hold no accounts.
	for name, prepare := range map[string]func(string){
		"a link out": func(p string) { os.Symlink("../../../../../../../../etc/passwd", p) },
		"a pipe":     func(p string) { unix.Mkfifo(p, 0o644) },
		"a folder":   func(p string) { os.Mkdir(p, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			passwd := filepath.Join(root, "etc", "passwd")
			os.RemoveAll(passwd)
			prepare(passwd)
			if u, err := resolveUser(root, "daemon", nil); err == nil {
				t.Errorf("found %v", u)
			}
		})
	}
}
