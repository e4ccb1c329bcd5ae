package security

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// testContainer: root in a plain container is root of little.
func testContainer(t *testing.T, w *world) {
	checks := []struct {
		name, script string
		want         string // a regexp of the whole output
	}{
		{"capabilities", "grep CapEff /proc/self/status", `CapEff:\s+00000000a80425fb`},
		{"bounding set", "grep CapBnd /proc/self/status", `CapBnd:\s+00000000a80425fb`},
		{"seccomp", "grep Seccomp: /proc/self/status", `Seccomp:\s+2`},
		{"keys", "wc -c < /proc/keys", `0`},
		{"kernel memory", "cat /proc/kcore | head -c 1 | wc -c", `(?s)(.*No such file.*)?0`},
		{"timers", "wc -c < /proc/timer_list", `0`},
		{"firmware", "ls /sys/firmware | wc -l", `0`},
		{"core pattern", "echo x > /proc/sys/kernel/core_pattern || echo no", `(?s).*no`},
		{"hot plug", "echo x > /sys/kernel/uevent_helper || echo no", `(?s).*no`},
		{"sysrq", "echo x > /proc/sysrq-trigger || echo no", `(?s).*no`},
		{"raw disk", "mknod /tmp/disk b 254 0; head -c 1 /tmp/disk || echo no", `(?s).*Operation not permitted.*no`},
		{"kernel log device", "mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg || echo no", `(?s).*Operation not permitted.*no`},
		{"memory device", "mknod /tmp/mem c 1 1; head -c 1 /tmp/mem || echo no", `(?s).*Operation not permitted.*no`},
		{"kernel log", "dmesg || echo no", `(?s).*no`},
		{"user namespace", "unshare -r true || echo no", `(?s).*no`},
		{"mount", "mount -t tmpfs t /mnt || echo no", `(?s).*no`},
		{"remount", "mount -o remount,rw /sys || echo no", `(?s).*no`},
		{"bind over a mask", "umount /proc/keys || echo no", `(?s).*no`},
		{"cgroups", "mkdir /sys/fs/cgroup/*/x /sys/fs/cgroup/x 2>/dev/null || echo no", `no`},
		{"release agent", "find /sys/fs/cgroup -name release_agent -maxdepth 2 -writable | while read f; do echo x > $f && echo written; done; echo end", `(?s).*end`},
		{"host name", "hostname x || echo no", `(?s).*no`},
		{"clock", "date -s 2020-01-01 2>&1 | grep -c 'not permitted'", `1`},
		{"others' processes", "ls /proc | grep -c '^[0-9]'", `[1-9]`},
		{"init's root", "ls /proc/1/root/var/lib/clipper || echo no", `(?s).*no`},
		{"open descriptors", "ls -l /proc/1/fd | grep -v -E 'pipe:|/dev/null|total|/dev/pts'; echo end", `end`},
		{"the API's loopback", "wget -q -T 5 -O- https://127.0.0.1:6443/version || echo no", `(?s).*no`},
		{"the kubelet's loopback", "wget -q -T 5 -O- http://127.0.0.1:10250/pods || echo no", `(?s).*no`},
	}
	var script strings.Builder
	for i, c := range checks {
		fmt.Fprintf(&script, "echo '=%d='; { %s; } 2>&1\n", i, c.script)
	}
	pod := shell("plain", script.String())
	w.start(t, pod, ended)
	out := w.log(t, "plain")
	for i, c := range checks {
		_, rest, ok := strings.Cut(out, fmt.Sprintf("=%d=\n", i))
		got, _, _ := strings.Cut(rest, fmt.Sprintf("\n=%d=", i+1))
		if got = strings.TrimSpace(got); !ok || !regexp.MustCompile(`^(?:`+c.want+`)$`).MatchString(got) || strings.Contains(got, "written") {
			t.Errorf("%s: %q, want %s", c.name, got, c.want)
		}
	}

	asked := shell("asked", "grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status; touch /x 2>&1")
	asked.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true), RunAsUser: ptr.To[int64](1000),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	w.start(t, asked, ended)
	if got := w.log(t, "asked"); !regexp.MustCompile(`(?s)NoNewPrivs:\s+1\nCapEff:\s+0000000000000000\n.*Read-only file system`).MatchString(got) {
		t.Errorf("what a container asks to be without: %q", got)
	}
}
