package kubelet

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/informer/informertest"
	"clipper/internal/kubelet/fakecri"
	"clipper/internal/kubelet/node"
)

// bench is a kubelet between a fake API and a fake runtime.
type bench struct {
	t      testing.TB
	client *fake.Clientset
	seen   *informertest.Watched
	cri    *fakecri.Runtime
	images *fakecri.Images
	clock  clock.WithTickerAndDelayedExecution
	root   string
	k      *Kubelet
	stop   func()
}

// newBench makes a bench that has not started. A nil clock is the real one.
func newBench(t testing.TB, c clock.WithTickerAndDelayedExecution, objects ...runtime.Object) *bench {
	t.Helper()
	if c == nil {
		c = clock.RealClock{}
	}
	b := &bench{t: t, client: fake.NewSimpleClientset(objects...), cri: fakecri.New(c), images: fakecri.NewImages(), clock: c, root: t.TempDir()}
	b.seen = informertest.Watch(b.client)
	b.client.PrependReactor("*", "pods", versioned(b.client.Tracker()))
	b.client.PrependReactor("create", "serviceaccounts", func(a k8stesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "token" {
			return false, nil, nil
		}
		return true, &authv1.TokenRequest{Status: authv1.TokenRequestStatus{Token: "token-1", ExpirationTimestamp: metav1.NewTime(c.Now().Add(time.Hour))}}, nil
	})
	return b
}

// versioned gives each write of a pod a resourceVersion, as an API server does
// and the fake does not: without, nobody can tell old from new.
func versioned(tracker k8stesting.ObjectTracker) k8stesting.ReactionFunc {
	var mu sync.Mutex
	var last int
	write := k8stesting.ObjectReaction(tracker)
	return func(a k8stesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		next := strconv.Itoa(last + 1)
		switch a := a.(type) {
		case k8stesting.CreateActionImpl:
			a.Object.(metav1.Object).SetResourceVersion(next)
			last++
			return write(a)
		case k8stesting.UpdateActionImpl:
			a.Object.(metav1.Object).SetResourceVersion(next)
			last++
			return write(a)
		case k8stesting.PatchActionImpl:
			var patch map[string]any
			if err := json.Unmarshal(a.Patch, &patch); err != nil {
				return true, nil, err
			}
			meta, _ := patch["metadata"].(map[string]any)
			if meta == nil {
				meta = map[string]any{}
				patch["metadata"] = meta
			}
			meta["resourceVersion"] = next
			var err error
			if a.Patch, err = json.Marshal(patch); err != nil {
				return true, nil, err
			}
			last++
			return write(a)
		}
		return false, nil, nil
	}
}

// start runs a kubelet; a second start is a restart of the agent.
func (b *bench) start() {
	b.t.Helper()
	if b.stop != nil {
		b.stop()
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	factory := informers.NewSharedInformerFactory(b.client, 0)
	pods := factory.Core().V1().Pods().Informer()
	factory.Core().V1().Services().Informer()
	k, err := New(Config{
		Client: b.client, Pods: pods, Informers: factory, Runtime: b.cri, Images: b.images,
		NodeName: "node-1", NodeIPs: []string{"192.168.0.1"},
		RootDir: filepath.Join(b.root, "kubelet"), LogDir: filepath.Join(b.root, "logs"),
		ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local",
		NoCgroups: true, Clock: b.clock, Logger: log,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	k.setMachine(node.Machine{CPUs: 4, Memory: 16 << 30, Disk: 100 << 30, Kernel: "6.1", OSImage: "Linux", Unified: true})
	b.k = k
	ctx, cancel := context.WithCancel(context.Background())
	watched := b.seen.Count("pods")
	factory.Start(ctx.Done())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})
	b.t.Cleanup(func() {
		b.stop()
		if k.volumes != nil {
			dirs, _ := os.ReadDir(k.volumes.Root)
			for _, d := range dirs {
				if err := k.volumes.TearDown(types.UID(d.Name())); err != nil {
					b.t.Error(err)
				}
			}
			if err := k.volumes.Close(); err != nil {
				b.t.Error(err)
			}
		}
	})
	rctx, rcancel := context.WithTimeout(ctx, 60*time.Second)
	defer rcancel()
	if err := k.Ready(rctx); err != nil {
		b.t.Fatalf("not ready: %v", err)
	}
	b.seen.Wait(b.t, "pods", watched)
}

// testPod returns a pod on the node with one container.
func testPod(name string, change ...func(*v1.Pod)) *v1.Pod {
	grace := int64(30)
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Generation: 1},
		Spec: v1.PodSpec{
			NodeName: "node-1", RestartPolicy: v1.RestartPolicyAlways, DNSPolicy: v1.DNSClusterFirst,
			TerminationGracePeriodSeconds: &grace,
			Containers: []v1.Container{{
				Name: "main", Image: "img:1", ImagePullPolicy: v1.PullIfNotPresent,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageReadFile,
			}},
		},
		Status: v1.PodStatus{Phase: v1.PodPending, Conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func (b *bench) create(p *v1.Pod) {
	b.t.Helper()
	if _, err := b.client.CoreV1().Pods(p.Namespace).Create(context.Background(), p, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) pod(name string) *v1.Pod {
	b.t.Helper()
	p, err := b.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// remove asks for a pod's graceful deletion, as the API server would note it.
func (b *bench) remove(name string, grace int64) {
	b.t.Helper()
	p := b.pod(name).DeepCopy()
	now := metav1.NewTime(b.clock.Now().Add(time.Duration(grace) * time.Second))
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
	if _, err := b.client.CoreV1().Pods("default").Update(context.Background(), p, metav1.UpdateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// await waits for a pod to be as wanted; nil means that it is gone.
func (b *bench) await(name, what string, ok func(*v1.Pod) bool) *v1.Pod {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	w, err := b.client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Stop()
	p, err := b.client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		p = nil
	}
	for {
		if ok(p) {
			return p
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("pod %s never was %s; now: %+v; calls: %s", name, what, p, strings.Join(b.cri.Calls(), "; "))
		case e := <-w.ResultChan():
			if q, isPod := e.Object.(*v1.Pod); isPod && q.Name == name {
				if p = q; e.Type == watch.Deleted {
					p = nil
				}
			}
		}
	}
}

func gone(p *v1.Pod) bool { return p == nil }

func running(p *v1.Pod) bool { return p != nil && p.Status.Phase == v1.PodRunning }

func TestPodRunsAndIsDeleted(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.create(testPod("web"))
	p := b.await("web", "running", running)
	if p.Status.PodIP == "" || p.Status.HostIP != "192.168.0.1" || len(p.Status.ContainerStatuses) != 1 || !p.Status.ContainerStatuses[0].Ready {
		t.Errorf("status: %+v", p.Status)
	}
	if id := p.Status.ContainerStatuses[0].ContainerID; !strings.HasPrefix(id, "clipper://") {
		t.Errorf("container ID %q", id)
	}
	b.remove("web", 30)
	b.await("web", "gone", gone)
	<-awaitIdle(b)
	if s, c := b.cri.Left(); s != 0 || c != 0 {
		t.Errorf("left: %d sandboxes, %d containers", s, c)
	}
	left, _ := filepath.Glob(filepath.Join(b.root, "kubelet", "pods", "*"))
	if len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

// awaitIdle is closed once no actor is left.
func awaitIdle(b *bench) <-chan struct{} {
	done := make(chan struct{})
	go func() { b.k.actors.Wait(); close(done) }()
	return done
}

func fakeClock() *clocktesting.FakeClock {
	return clocktesting.NewFakeClock(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
}

// TestRestartWritesNothing: an agent that restarts finds all as it left it.
func TestRestartWritesNothing(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.create(testPod("web", func(p *v1.Pod) {
		p.Spec.InitContainers = []v1.Container{{Name: "init", Image: "img:1", TerminationMessagePath: "/dev/termination-log"}}
		p.Spec.Volumes = []v1.Volume{{Name: "d", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}}
	}))
	b.create(testPod("done", func(p *v1.Pod) {
		p.Spec.RestartPolicy = v1.RestartPolicyNever
		p.Spec.Containers[0].Name = "once"
	}))
	b.await("web", "in its init container", func(p *v1.Pod) bool {
		return p != nil && len(p.Status.InitContainerStatuses) == 1 && p.Status.InitContainerStatuses[0].State.Running != nil
	})
	b.cri.Find("init").Exit(0)
	b.await("web", "running", running)
	b.await("done", "running", running)
	b.cri.Find("once").Exit(0)
	b.await("done", "over", func(p *v1.Pod) bool {
		if p == nil || p.Status.Phase != v1.PodSucceeded {
			return false
		}
		for _, c := range p.Status.Conditions {
			if c.Type == v1.PodReadyToStartContainers {
				return c.Status == v1.ConditionFalse
			}
		}
		return false
	})
	calls := b.cri.Calls()
	b.client.ClearActions()
	b.start()
	// Both pods' actors have taken their first step once they answer.
	if n := len(b.k.List()); n != 2 {
		t.Fatalf("%d pods", n)
	}
	b.stop()
	for _, a := range b.client.Actions() {
		if a.GetResource().Resource == "pods" && a.GetVerb() != "list" && a.GetVerb() != "watch" {
			t.Errorf("%v", a)
		}
	}
	if now := b.cri.Calls(); len(now) != len(calls) {
		t.Errorf("the runtime was asked for %v", now[len(calls):])
	}
}

// TestOrphan: what runs for a pod that the API has forgotten is removed.
func TestOrphan(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.create(testPod("web"))
	b.await("web", "running", running)
	b.stop()
	if err := b.client.CoreV1().Pods("default").Delete(context.Background(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.start()
	<-awaitIdle(b)
	if s, c := b.cri.Left(); s != 0 || c != 0 {
		t.Errorf("left: %d sandboxes, %d containers", s, c)
	}
}

// TestLabelledLater: the node's labels count as they are, not as they were.
func TestLabelledLater(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	ctx := context.Background()
	node, err := b.client.CoreV1().Nodes().Get(ctx, "node-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node = node.DeepCopy()
	node.Labels["disk"] = "ssd"
	if _, err := b.client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.create(testPod("web", func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }))
	b.await("web", "running", running)
}

// TestLogsOverTheAPI chooses the run whose log is meant.
func TestLogsOverTheAPI(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.create(testPod("web"))
	b.await("web", "running", running)
	ctx := context.Background()
	if _, _, err := b.k.Log(ctx, "default", "web", "main", true); err == nil || err.Error() != `previous terminated container "main" in pod "web" not found` {
		t.Errorf("previous: %v", err)
	}
	if _, _, err := b.k.Log(ctx, "default", "web", "other", false); err == nil || err.Error() != `container "other" not found in pod "web"` {
		t.Errorf("other: %v", err)
	}
	path, ended, err := b.k.Log(ctx, "default", "web", "main", false)
	if err != nil || !strings.HasSuffix(path, "/default_web_uid-web/main/0.log") {
		t.Fatalf("%s %v", path, err)
	}
	b.cri.Find("main").Exit(1)
	<-ended
	b.await("web", "restarted", func(p *v1.Pod) bool {
		return p != nil && p.Status.ContainerStatuses[0].RestartCount == 1 && p.Status.ContainerStatuses[0].State.Running != nil
	})
	path, _, err = b.k.Log(ctx, "default", "web", "main", true)
	if err != nil || !strings.HasSuffix(path, "/main/0.log") {
		t.Errorf("previous: %s %v", path, err)
	}
}
