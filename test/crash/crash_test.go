// Package crash kills running clusters and looks at what is lost: nothing that
// was acknowledged.
package crash

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"clipper/test/cluster"
	"clipper/test/leftover"
)

const pods = 20

func startPods(t *testing.T, ctx context.Context, client kubernetes.Interface) {
	t.Helper()
	for i := range pods {
		_, err := client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i)},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "c", Image: "busybox:test", Command: []string{"sh", "-c", "date +%s.%N > /born; exec sleep 86400"},
			}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	awaitRunning(t, ctx, client, func(*corev1.Pod) bool { return true })
}

// awaitRunning returns the pods once all run and are as wanted.
func awaitRunning(t *testing.T, ctx context.Context, client kubernetes.Interface, wanted func(*corev1.Pod) bool) map[string]*corev1.Pod {
	t.Helper()
	good := map[string]*corev1.Pod{}
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", "default", fields.Everything())
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		p := e.Object.(*corev1.Pod)
		delete(good, p.Name)
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if e.Type != watch.Deleted && p.Status.Phase == corev1.PodRunning && ready && wanted(p) {
			good[p.Name] = p
		}
		return len(good) == pods, nil
	})
	if err != nil {
		t.Fatalf("%d of %d pods run as wanted: %v", len(good), pods, err)
	}
	return good
}

// writer creates and updates ConfigMaps until it is cut off, and remembers what
// was acknowledged.
type writer struct {
	acked map[string]string // name: value
	last  uint64            // newest resourceVersion seen
	err   error
}

func (w *writer) run(ctx context.Context, client kubernetes.Interface, id int) {
	w.acked = map[string]string{}
	for i := 0; ctx.Err() == nil; i++ {
		name, value := fmt.Sprintf("w%d-%d", id, i/3), strconv.Itoa(i)
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"v": value}}
		var err error
		if _, there := w.acked[name]; there {
			cm, err = client.CoreV1().ConfigMaps("default").Update(ctx, cm, metav1.UpdateOptions{})
		} else {
			cm, err = client.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{})
		}
		if err != nil {
			return // cut off: this write may or may not be there
		}
		w.acked[name] = value
		rv, err := strconv.ParseUint(cm.ResourceVersion, 10, 64)
		if err != nil || rv <= w.last {
			w.err = fmt.Errorf("resourceVersion %s after %d", cm.ResourceVersion, w.last)
			return
		}
		w.last = rv
	}
}

// writeAndKill lets writers run until kill is done, and checks after resume that
// all they were told is there.
func writeAndKill(t *testing.T, ctx context.Context, c *cluster.Cluster, kill func()) {
	t.Helper()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	writers := make([]writer, 4)
	var wg sync.WaitGroup
	client := c.Client()
	flowing := make(chan struct{}, 1)
	for i := range writers {
		wg.Go(func() { writers[i].run(writing, client, i) })
	}
	// The kill comes when writes have flowed for a while: a watch counts them.
	go func() {
		defer close(flowing)
		w, err := client.CoreV1().ConfigMaps("default").Watch(writing, metav1.ListOptions{})
		if err != nil {
			return
		}
		defer w.Stop()
		for range 300 {
			<-w.ResultChan()
		}
	}()
	<-flowing
	kill()
	stop()
	wg.Wait()

	c.Resume()
	client = c.Client()
	list, err := client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, cm := range list.Items {
		there[cm.Name] = cm.Data["v"]
	}
	total := 0
	for i := range writers {
		w := &writers[i]
		if w.err != nil {
			t.Error(w.err)
		}
		total += len(w.acked)
		for name, value := range w.acked {
			got, err := strconv.Atoi(there[name])
			want, _ := strconv.Atoi(value)
			// The one write that was cut off may have come after.
			if err != nil || got < want || got > want+1 {
				t.Errorf("ConfigMap %s: acknowledged %s, found %q", name, value, there[name])
			}
		}
		if rv, _ := strconv.ParseUint(list.ResourceVersion, 10, 64); rv < w.last {
			t.Errorf("the list is at resourceVersion %d, and %d was handed out before", rv, w.last)
		}
	}
	if total == 0 {
		t.Error("no write was acknowledged before the kill")
	}
}

func restarts(p *corev1.Pod) int32 { return p.Status.ContainerStatuses[0].RestartCount }

func TestKillServer(t *testing.T) {
	c := cluster.Start(t)
	c.LoadImages()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	startPods(t, ctx, c.Client())
	before := awaitRunning(t, ctx, c.Client(), func(*corev1.Pod) bool { return true })
	born := c.Kubectl("exec", "pod-0", "--", "cat", "/born")
	writeAndKill(t, ctx, c, c.KillServer)
	after := awaitRunning(t, ctx, c.Client(), func(*corev1.Pod) bool { return true })
	for name, p := range after {
		was := before[name].Status.ContainerStatuses[0].ContainerID
		if got := p.Status.ContainerStatuses[0].ContainerID; got != was || restarts(p) != 0 {
			t.Errorf("pod %s: container %s became %s, %d restarts", name, was, got, restarts(p))
		}
	}
	if now := c.Kubectl("exec", "pod-0", "--", "cat", "/born"); now != born {
		t.Errorf("pod-0 was born at %s, then again at %s", born, now)
	}
	if len(after) != len(before) || !slices.Equal(slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before))) {
		t.Error("other pods run than before")
	}
}

func TestKillEverything(t *testing.T) {
	c := cluster.Start(t)
	c.LoadImages()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	startPods(t, ctx, c.Client())
	writeAndKill(t, ctx, c, c.KillAll)
	awaitRunning(t, ctx, c.Client(), func(p *corev1.Pod) bool { return restarts(p) == 1 })
}

func TestStopAndStart(t *testing.T) {
	c := cluster.Start(t)
	c.LoadImages()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	startPods(t, ctx, c.Client())
	c.Clipper("stop", "--name", c.Name)
	if out, err := c.Try("status", "--name", c.Name); err == nil {
		t.Errorf("status of a stopped cluster succeeds: %s", out)
	}
	c.Resume()
	awaitRunning(t, ctx, c.Client(), func(p *corev1.Pod) bool { return restarts(p) == 1 })
}

// TestDeleteAfterKill cuts starts off at many moments; a deletion leaves nothing.
func TestDeleteAfterKill(t *testing.T) {
	// The first takes care of what earlier runs left, the last is whole.
	cluster.Start(t)
	routes := leftover.Routes()
	for i, after := range []time.Duration{0, 5, 20, 50, 100, 150, 200, 300, 500, 1000} {
		after *= time.Millisecond
		name := fmt.Sprintf("test-%d-cut%d", os.Getpid(), i)
		cmd := exec.Command(cluster.Program(t), "start", "--name", name, "--no-uplink")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+t.TempDir()+"/kubeconfig")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // the moment of the kill is what varies, not a wait for something
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		del := exec.Command(cluster.Program(t), "delete", "--name", name)
		del.Env = cmd.Env
		if out, err := del.CombinedOutput(); err != nil {
			t.Errorf("delete after %v: %v\n%s", after, err, out)
		}
		for _, l := range leftover.Of(name) {
			t.Errorf("killed after %v, deleted, and still there: %s", after, l)
		}
	}
	if now := leftover.Routes(); !slices.Equal(now, routes) {
		t.Errorf("routes were\n%v\nand are\n%v", routes, now)
	}
}
