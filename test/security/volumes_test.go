package security

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// testVolumes: links that a container plants in a volume lead nobody out of it:
// neither the agent, which reads messages and logs and mounts parts of volumes
// by path, nor another container.
func testVolumes(t *testing.T, w *world) {
	plant := `mkdir -p /v/dir; ln -s /etc /v/etc; ln -s / /v/root; ln -s ../../../../../../../../../../var/lib/clipper /v/up
		ln -s /etc/shadow /v/message; ln -s /proc/self/root /v/dir/proc; ln -s /v/loop /v/loop`
	volume := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	whole := corev1.VolumeMount{Name: "v", MountPath: "/v"}
	for _, c := range []struct{ name, sub string }{
		{"absolute", "etc"}, {"of-the-root", "root/var/lib/clipper"}, {"upwards", "up"}, {"through-proc", "dir/proc/etc"}, {"looping", "loop"},
	} {
		p := shell("planted-"+c.name, "ls -a /m")
		p.Spec.Volumes = []corev1.Volume{volume}
		p.Spec.InitContainers = []corev1.Container{{Name: "plant", Image: "busybox:test", Command: []string{"sh", "-c", plant}, VolumeMounts: []corev1.VolumeMount{whole}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/m", SubPath: c.sub}}
		refused := func(p *corev1.Pod) bool {
			for _, s := range p.Status.ContainerStatuses {
				if s.State.Waiting != nil && s.State.Waiting.Reason == "CreateContainerConfigError" {
					return true
				}
			}
			return ended(p)
		}
		if got := w.start(t, p, refused); !ended(got) {
			continue // a link that cannot be followed inside is an error
		}
		if out := w.log(t, p.Name); strings.Contains(out, "passwd") || strings.Contains(out, w.Name) {
			t.Errorf("subPath %s leads out of its volume: %q", c.sub, out)
		}
	}

	p := shell("message", "cat /v/message; exit 1")
	p.Spec.Volumes = []corev1.Volume{volume}
	p.Spec.InitContainers = []corev1.Container{{Name: "plant", Image: "busybox:test", Command: []string{"sh", "-c", plant}, VolumeMounts: []corev1.VolumeMount{whole}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{whole}
	p.Spec.Containers[0].TerminationMessagePath = "/v/message"
	done := func(p *corev1.Pod) bool {
		return ended(p) || len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil && strings.HasSuffix(p.Status.ContainerStatuses[0].State.Waiting.Reason, "Error")
	}
	got := w.start(t, p, done)
	for _, s := range got.Status.ContainerStatuses {
		if s.State.Terminated != nil && strings.Contains(s.State.Terminated.Message, "root:") {
			t.Errorf("the termination message is a file of the machine: %q", s.State.Terminated.Message)
		}
	}

	// A message replaced or without an end is bounded.
	p = shell("endless", "rm -f /dev/termination-log; ln -s /etc/shadow /dev/termination-log; head -c 3000000 /dev/zero | tr '\\0' x > /dev/termination-log; exit 1")
	got = w.start(t, p, ended)
	if m := got.Status.ContainerStatuses[0].State.Terminated.Message; len(m) > 4096 || strings.Contains(m, "root:") {
		t.Errorf("a termination message of %d bytes: %.100q", len(m), m)
	}
	p = shell("one-line", "head -c 3000000 /dev/zero | tr '\\0' x; exit 1")
	p.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	got = w.start(t, p, ended)
	if m := got.Status.ContainerStatuses[0].State.Terminated.Message; len(m) == 0 || len(m) > 2048 {
		t.Errorf("a message of %d bytes from a log of one line", len(m))
	}
}
