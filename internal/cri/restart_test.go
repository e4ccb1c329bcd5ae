package cri

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/supervisor"
)

func TestContainersOutliveTheRuntime(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	waits := b.start(pod, b.config("waits", "wait"))
	c := b.config("ends", "counts")
	c.Stdin, c.StdinOnce = true, true
	ends := b.start(pod, c)
	created, err := b.CreateContainer(b.ctx, pod, b.config("created", "exit", "5"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.wrote(waits, "waiting")
	before := b.status(waits)
	b.stop()
	// One ends while nobody looks.
	if err := b.client.Signal(b.ctx, ends, int(unix.SIGKILL), false); err != nil {
		t.Fatal(err)
	}
	b.begin()
	if st := b.exit(ends); st.ExitCode != 137 || st.Reason != reasonError {
		t.Errorf("ended with code %d, reason %s", st.ExitCode, st.Reason)
	}
	after := b.status(waits)
	if after.State != runtimeapi.ContainerState_CONTAINER_RUNNING || after.StartedAt != before.StartedAt {
		t.Errorf("was %v, is %v", before, after)
	}
	if out, _, err := b.ExecSync(b.ctx, waits, []string{"/guest", "echo", "here", ""}, 0); err != nil || string(out) != "here\n" {
		t.Errorf("%q %v", out, err)
	}
	if err := b.StopContainer(b.ctx, waits, 30); err != nil {
		t.Fatal(err)
	}
	if logs := b.log(b.status(waits)); logs != "waiting\ngot terminated\n" {
		t.Error(logs)
	}
	if err := b.StartContainer(b.ctx, created); err != nil {
		t.Fatal(err)
	}
	if st := b.exit(created); st.ExitCode != 5 {
		t.Errorf("code %d", st.ExitCode)
	}
	// The pod serves on.
	if st, _ := b.run(pod, b.config("new", "exit", "0")); st.ExitCode != 0 {
		t.Errorf("code %d", st.ExitCode)
	}
}

func TestSupervisorDies(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := b.start(pod, b.config("c", "wait"))
	ended := b.start(pod, b.config("e", "exit", "3"))
	b.exit(ended)
	pid := b.containers[id].pid
	info, err := b.client.Info(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(info.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := b.exit(id); st.ExitCode != codeUnknown || st.Reason != reasonUnknown {
		t.Errorf("code %d, reason %s", st.ExitCode, st.Reason)
	}
	if st := b.status(ended); st.ExitCode != 3 {
		t.Errorf("code %d", st.ExitCode)
	}
	if err := killAndWait(b.ctx, pid); err != nil {
		t.Error(err)
	}
	// The next one takes over: the pod's namespaces are still there.
	resp, err := b.PodSandboxStatus(b.ctx, pod, false)
	if err != nil || resp.Status.State != runtimeapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("%v %v", resp, err)
	}
	for {
		now, err := b.client.Info(b.ctx)
		if err == nil && now.PID != info.PID {
			break
		}
		if b.ctx.Err() != nil {
			t.Fatal("no new supervisor")
		}
	}
	if st, _ := b.run(pod, b.config("new", "exit", "4")); st.ExitCode != 4 {
		t.Errorf("code %d", st.ExitCode)
	}
	if err := b.RemoveContainer(b.ctx, id); err != nil {
		t.Error(err)
	}
}

func TestEverythingIsKilled(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	shared, _ := b.pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Metadata.Uid = "other"
		c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD
	})
	id := b.start(pod, b.config("c", "wait"))
	info, err := b.client.Info(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.stop()
	if err := killAndWait(b.ctx, info.PID); err != nil {
		t.Fatal(err)
	}
	b.begin()
	if st := b.exit(id); st.ExitCode != codeUnknown || st.Reason != reasonUnknown {
		t.Errorf("code %d, reason %s", st.ExitCode, st.Reason)
	}
	resp, err := b.PodSandboxStatus(b.ctx, shared, false)
	if err != nil || resp.Status.State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("a pod whose first process is gone: %v %v", resp, err)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), b.runPath("containers")) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
}

func TestRebootForgetsNamespaces(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := b.start(pod, b.config("c", "wait"))
	info, err := b.client.Info(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.stop()
	if err := killAndWait(b.ctx, info.PID); err != nil {
		t.Fatal(err)
	}
	// As after a boot: nothing of RunDir is left.
	for _, kind := range []string{"sandboxes", "containers", "ready"} {
		entries, _ := os.ReadDir(b.runPath(kind))
		for _, e := range entries {
			if err := removeMounted(b.runPath(kind, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	os.RemoveAll(b.runPath("supervisor"))
	b.begin()
	resp, err := b.PodSandboxStatus(b.ctx, pod, false)
	if err != nil || resp.Status.State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("%v %v", resp, err)
	}
	if st := b.exit(id); st.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Error(st.State)
	}
	if _, err := b.CreateContainer(b.ctx, pod, b.config("d", "wait"), nil); err == nil || !strings.Contains(err.Error(), "is not ready") {
		t.Errorf("in a sandbox that is not ready: %v", err)
	}
}

func TestDamagedRecordsAreDropped(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := b.start(pod, b.config("c", "wait"))
	b.stop()
	if err := os.WriteFile(b.containerFile(id), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.begin()
	if _, err := b.ContainerStatus(b.ctx, id, false); err == nil {
		t.Error("a container without a record is known")
	}
	if _, err := os.Stat(b.statePath("containers", id)); !os.IsNotExist(err) {
		t.Errorf("its files are left: %v", err)
	}
}

// A change that a crash cut short is passed over, and later ones are not.
func TestChangesCutShort(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := b.start(pod, b.config("c", "wait"))
	b.wrote(id, "waiting")
	b.stop()
	f, err := os.OpenFile(b.containerFile(id), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"state":2,"exi`)
	f.Close()
	b.begin()
	if st := b.status(id); st.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Error(st.State)
	}
	if err := b.StopContainer(b.ctx, id, 30); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if st := b.status(id); st.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.Reason != reasonCompleted {
		t.Errorf("%v %s", st.State, st.Reason)
	}
}

// A container whose making was given up is not left.
func TestCreationsGivenUp(t *testing.T) {
	b := newBench(t)
	// One may outlive the pod, and then the pod's cgroup is the kubelet's.
	b.podCgroupMayStay = true
	pod, _ := b.pod()
	for i := range 8 {
		ctx, cancel := context.WithTimeout(b.ctx, time.Duration(i*5)*time.Millisecond)
		id, err := b.CreateContainer(ctx, pod, b.config("c", "wait"), nil)
		cancel()
		if err == nil {
			if err := b.RemoveContainer(b.ctx, id); err != nil {
				t.Error(err)
			}
		}
	}
	// The supervisor tells of each that it lets go; then it has none.
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	left := map[string]bool{}
	settle := func() {
		if len(left) == 0 {
			cancel()
		}
	}
	b.client.Watch(ctx,
		func(states []supervisor.State) {
			for _, s := range states {
				left[s.ID] = true
			}
			settle()
		},
		func(s supervisor.State) {
			if left[s.ID] = true; s.Phase == supervisor.Deleted {
				delete(left, s.ID)
			}
			settle()
		})
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestManyAtOnce(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			pod, err := b.RunPodSandbox(b.ctx, &runtimeapi.PodSandboxConfig{
				Metadata:     &runtimeapi.PodSandboxMetadata{Name: "p", Namespace: "n", Uid: newID()},
				LogDirectory: t.TempDir(),
			}, "")
			if err != nil {
				t.Error(err)
				return
			}
			for _, code := range []string{"0", "9"} {
				id, err := b.CreateContainer(b.ctx, pod, b.config("c", "exit", code), nil)
				if err == nil {
					err = b.StartContainer(b.ctx, id)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if st := b.exit(id); st.ExitCode != int32(code[0]-'0') {
					t.Errorf("code %d, want %s", st.ExitCode, code)
				}
			}
			if err := b.RemovePodSandbox(b.ctx, pod); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
