package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// measurements run in this order on one cluster, but for those of how it is
// when new: each of them has a cluster of its own.
var measurements = []struct {
	name string
	run  func(context.Context, *cluster) ([]figure, error)
	anew bool
}{
	{name: "idle", run: idle},
	{name: "pods", run: podStart},
	{name: "deployment", run: deployment},
	{name: "writes", run: writes},
	{name: "list", run: list},
	{name: "watch", run: watches},
	{name: "schedule", run: schedule},
	{name: "stored", run: stored, anew: true},
}

const (
	ns         = "default"
	configMaps = "/api/v1/namespaces/" + ns + "/configmaps"
)

// idle waits until the start has settled, and then looks for half a minute.
func idle(ctx context.Context, c *cluster) ([]figure, error) {
	const settle, look = 15 * time.Second, 30 * time.Second
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	pids := c.pids()
	cpu0, switches0 := cpu(pids)
	if err := pause(ctx, look); err != nil {
		return nil, err
	}
	cpu1, switches1 := cpu(pids)
	return []figure{
		{Name: "idle memory (PSS)", Unit: "MB", Value: pss(pids) / 1e6},
		{Name: "idle CPU", Unit: "% of a core", Value: 100 * (cpu1 - cpu0) / look.Seconds()},
		{Name: "idle wake-ups", Unit: "/s", Value: (switches1 - switches0) / look.Seconds()},
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func sleeper() corev1.PodSpec {
	grace := int64(0)
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []corev1.Container{{Name: "c", Image: "docker.io/library/busybox:test", ImagePullPolicy: corev1.PullNever, Command: []string{"sleep", "86400"}}},
	}
}

// podStart creates pods one after another and waits, for each, until a watch
// shows it Running.
func podStart(ctx context.Context, c *cluster) ([]figure, error) {
	if err := loadImages(ctx, c); err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	const warm, n = 3, 50
	var took []float64
	for i := range warm + n {
		name := fmt.Sprintf("start-%d", i)
		w, err := client.CoreV1().Pods(ns).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		if _, err := client.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: sleeper()}, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
		err = until(ctx, w, func(e watch.Event) bool {
			p, ok := e.Object.(*corev1.Pod)
			return ok && p.Status.Phase == corev1.PodRunning
		})
		w.Stop()
		if err != nil {
			return nil, fmt.Errorf("pod %s: %w", name, err)
		}
		if i >= warm {
			took = append(took, float64(time.Since(begin).Microseconds())/1000)
		}
	}
	err = removePods(ctx, client, "")
	return []figure{
		{Name: "pod start p50", Unit: "ms", Value: quantile(took, 0.5)},
		{Name: "pod start p99", Unit: "ms", Value: quantile(took, 0.99)},
	}, err
}

func loadImages(ctx context.Context, c *cluster) error {
	if c.loaded {
		return nil
	}
	c.loaded = true
	return c.load(ctx, c)
}

var errEnded = errors.New("the watch ended")

func until(ctx context.Context, w watch.Interface, done func(watch.Event) bool) error {
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				return errEnded
			}
			if done(e) {
				return nil
			}
		case <-limit.C:
			return errors.New("not after two minutes")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// removePods deletes pods and waits until they are gone.
func removePods(ctx context.Context, client kubernetes.Interface, selector string) error {
	zero := int64(0)
	o := metav1.ListOptions{LabelSelector: selector}
	if err := client.CoreV1().Pods(ns).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &zero}, o); err != nil {
		return err
	}
	return every(ctx, 50*time.Millisecond, func() bool {
		l, err := client.CoreV1().Pods(ns).List(ctx, o)
		return err == nil && len(l.Items) == 0
	})
}

func quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return v[min(len(v)-1, int(float64(len(v))*q))]
}

func deployment(ctx context.Context, c *cluster) ([]figure, error) {
	if err := loadImages(ctx, c); err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	const n = 50
	replicas := int32(n)
	labels := map[string]string{"app": "fifty"}
	w, err := client.AppsV1().Deployments(ns).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=fifty"})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	begin := time.Now()
	_, err = client.AppsV1().Deployments(ns).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "fifty"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: sleeper()},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	err = until(ctx, w, func(e watch.Event) bool {
		d, ok := e.Object.(*appsv1.Deployment)
		return ok && d.Status.ReadyReplicas == n
	})
	took := time.Since(begin)
	policy := metav1.DeletePropagationForeground
	err = errors.Join(err, client.AppsV1().Deployments(ns).Delete(ctx, "fifty", metav1.DeleteOptions{PropagationPolicy: &policy}), removePods(ctx, client, "app=fifty"))
	return []figure{{Name: "50-pod Deployment to all Ready", Unit: "s", Value: took.Seconds()}}, err
}

var kib = strings.Repeat("x", 1024)

const (
	writers = 20
	each    = 250
)

// writes lets clients, each with a connection of its own, do one thing after another.
func writes(ctx context.Context, c *cluster) ([]figure, error) {
	clients, err := c.sessions(ctx, writers)
	if err != nil {
		return nil, err
	}
	defer closeAll(clients)
	name := func(i, j int) string { return fmt.Sprintf("w-%d-%d", i, j) }
	path := func(i, j int) string { return configMaps + "/" + name(i, j) }
	const form = runtime.ContentTypeProtobuf
	none := encoded(&metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}})
	steps := []struct {
		name string
		do   func(client *session, i, j int) error
	}{
		{"create", func(s *session, i, j int) error {
			return s.create(configMaps, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name(i, j)}, Data: map[string]string{"k": kib}})
		}},
		{"update", func(s *session, i, j int) error {
			_, err := s.do("PUT", path(i, j), form, encoded(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name(i, j)}, Data: map[string]string{"k": kib, "l": "m"}}), nil)
			return err
		}},
		{"get", func(s *session, i, j int) error {
			n, err := s.do("GET", path(i, j), form, nil, nil)
			if err == nil && n < len(kib) {
				err = fmt.Errorf("an object of %d bytes", n)
			}
			return err
		}},
		{"delete", func(s *session, i, j int) error {
			_, err := s.do("DELETE", path(i, j), form, none, nil)
			return err
		}},
	}
	var figures []figure
	for _, step := range steps {
		begin := time.Now()
		used, _ := cpu(c.pids())
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i, client := range clients {
			wg.Go(func() {
				for j := range each {
					if errs[i] = step.do(client, i, j); errs[i] != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		now, _ := cpu(c.pids())
		figures = append(figures,
			figure{Name: "1 KiB ConfigMaps, " + step.name, Unit: "/s", Value: writers * each / took.Seconds()},
			figure{Name: "1 KiB ConfigMaps, " + step.name + ", the cluster's CPU for one", Unit: "µs", Value: 1e6 * (now - used) / (writers * each)})
	}
	return figures, nil
}

const listed = 5000

// fill creates n ConfigMaps with a label.
func fill(ctx context.Context, c *cluster, label string, n int, data func(i int) string) error {
	clients, err := c.sessions(ctx, writers)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	return spread(clients, n, func(s *session, i int) error {
		return s.create(configMaps, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", label, i), Labels: map[string]string{label: "yes"}},
			Data:       map[string]string{"k": data(i)},
		})
	})
}

func sameKiB(int) string { return kib }

// ownKiB is text that no other object shares and that is hard to compress.
func ownKiB(i int) string {
	b := make([]byte, 1024)
	random := rand.New(rand.NewPCG(1, uint64(i)))
	for j := range b {
		b[j] = byte('!' + random.IntN('~'-'!'))
	}
	return string(b)
}

// list takes all bytes of the answer and does not decode them: what is measured
// is the server.
func list(ctx context.Context, c *cluster) ([]figure, error) {
	if err := fill(ctx, c, "list", listed, sameKiB); err != nil {
		return nil, err
	}
	var figures []figure
	client, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for _, form := range []struct{ name, contentType string }{{"protobuf", runtime.ContentTypeProtobuf}, {"JSON", runtime.ContentTypeJSON}} {
		var took []float64
		used, _ := cpu(c.pids())
		const lists = 23
		for i := range lists {
			begin := time.Now()
			n, err := client.do("GET", configMaps, form.contentType, nil, nil)
			if err != nil {
				return nil, err
			}
			if n < listed*1024 {
				return nil, fmt.Errorf("the list holds only %d bytes", n)
			}
			if i >= 3 {
				took = append(took, float64(time.Since(begin).Microseconds())/1000)
			}
		}
		now, _ := cpu(c.pids())
		figures = append(figures,
			figure{Name: "list of 5,000, " + form.name + ", p50", Unit: "ms", Value: quantile(took, 0.5)},
			figure{Name: "list of 5,000, " + form.name + ", the cluster's CPU for one", Unit: "ms", Value: 1e3 * (now - used) / lists})
	}
	return figures, client.remove(configMaps, "list=yes")
}

// watches counts the events that reach 100 watchers while a few clients write.
// Each has a connection of its own, counts lines and decodes nothing. One of them
// also looks how long after a write's answer its event comes.
func watches(ctx context.Context, c *cluster) ([]figure, error) {
	const watchers, perWriter, writing = 100, 150, 10
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var seen, newest atomic.Int64 // events, and when the last came, in ns since begin
	begin := time.Now()
	done := make(chan struct{})
	const total = watchers * writing * perWriter
	var mu sync.Mutex
	acked, came := map[string]time.Time{}, map[string]time.Time{}
	for i := range watchers {
		client, err := c.session(ctx)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		begun := make(chan error, 1)
		var lines bytes.Buffer // of the one that looks
		go func() {
			_, err := client.do("GET", configMaps+"?watch=true&labelSelector=watch%3Dyes", runtime.ContentTypeJSON, nil, func(p []byte) {
				if p == nil {
					begun <- nil
					return
				}
				frames := int64(bytes.Count(p, []byte{'\n'})) // a JSON event is a line
				if i == 0 {
					now := time.Now()
					lines.Write(p)
					for ; frames > 0; frames-- {
						line, _ := lines.ReadString('\n')
						if _, after, ok := strings.Cut(line, `"name":"`); ok {
							name, _, _ := strings.Cut(after, `"`)
							mu.Lock()
							came[name] = now
							mu.Unlock()
						}
					}
					frames = int64(bytes.Count(p, []byte{'\n'}))
				}
				newest.Store(int64(time.Since(begin)))
				if frames > 0 && seen.Add(frames) >= total {
					select {
					case <-done:
					default:
						close(done)
					}
				}
			})
			begun <- err
		}()
		if err := <-begun; err != nil {
			return nil, err
		}
	}
	clients, err := c.sessions(ctx, writing)
	if err != nil {
		return nil, err
	}
	defer closeAll(clients)
	started := time.Since(begin)
	used, _ := cpu(c.pids())
	errs := make([]error, writing)
	var wg sync.WaitGroup
	for i, client := range clients {
		wg.Go(func() {
			for j := range perWriter {
				name := fmt.Sprintf("e-%d-%d", i, j)
				errs[i] = client.create(configMaps, &corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"watch": "yes"}},
					Data:       map[string]string{"k": kib},
				})
				if errs[i] != nil {
					return
				}
				mu.Lock()
				acked[name] = time.Now()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// A server may end the watch of who does not keep up: what came counts.
	const silence = 10 * time.Second
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(time.Second):
			waiting = time.Since(begin)-time.Duration(newest.Load()) < silence
		}
	}
	events := float64(seen.Load())
	if events == 0 {
		return nil, errors.New("the watchers saw no event")
	}
	if events < total {
		fmt.Fprintf(os.Stderr, "    the watchers saw %.0f of %d events, and then none for %v\n", events, total, silence)
	}
	took := time.Duration(newest.Load()) - started
	now, _ := cpu(c.pids())
	var late []float64
	mu.Lock()
	for name, at := range came {
		late = append(late, max(0, at.Sub(acked[name]).Seconds()*1000))
	}
	mu.Unlock()
	return []figure{
			{Name: "watch events to 100 watchers", Unit: "/s", Value: events / took.Seconds()},
			{Name: "watch events, after the write's answer, p99", Unit: "ms", Value: quantile(late, 0.99)},
			{Name: "watch events, the cluster's CPU for one", Unit: "µs", Value: 1e6 * (now - used) / events},
		},
		clients[0].remove(configMaps, "watch=yes")
}

// schedule binds pods onto nodes that exist in the API only.
func schedule(ctx context.Context, c *cluster) ([]figure, error) {
	const nodes, pods = 1000, 3000
	clients, err := c.clients(writers)
	if err != nil {
		return nil, err
	}
	err = spread(clients, nodes, func(k kubernetes.Interface, i int) error { return simulatedNode(ctx, k, i) })
	if err != nil {
		return nil, err
	}
	creators, err := c.sessions(ctx, writers)
	if err != nil {
		return nil, err
	}
	defer closeAll(creators)
	spec := sleeper()
	spec.NodeSelector = map[string]string{"simulated": "yes"}
	spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("100Mi")}
	begin := time.Now()
	used, _ := cpu(c.pids())
	created := make(chan error, 1)
	go func() {
		created <- spread(creators, pods, func(s *session, i int) error {
			return s.create("/api/v1/namespaces/"+ns+"/pods", &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bound-%d", i), Labels: map[string]string{"app": "bound"}}, Spec: spec,
			})
		})
	}()
	err = allBound(ctx, clients[0], pods)
	took := time.Since(begin)
	if err = errors.Join(err, <-created); err != nil {
		return nil, err
	}
	now, _ := cpu(c.pids())
	memory := pss(c.pids())
	return []figure{
		{Name: "3,000 pods created and bound onto 1,000 nodes", Unit: "/s", Value: pods / took.Seconds()},
		{Name: "3,000 pods, the cluster's CPU for one", Unit: "µs", Value: 1e6 * (now - used) / pods},
		{Name: "memory after that (PSS)", Unit: "MB", Value: memory / 1e6},
	}, nil
}

// allBound returns once n pods of the measurement are bound. A server may end
// the watch of a client that it finds slow; then it is begun anew.
func allBound(ctx context.Context, client kubernetes.Interface, n int) error {
	for {
		bound := map[types.UID]bool{}
		all := func(p *corev1.Pod) bool {
			if p.Spec.NodeName != "" {
				bound[p.UID] = true
			}
			return len(bound) == n
		}
		l, err := client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=bound"})
		if err != nil {
			return err
		}
		for i := range l.Items {
			if all(&l.Items[i]) {
				return nil
			}
		}
		w, err := client.CoreV1().Pods(ns).Watch(ctx, metav1.ListOptions{LabelSelector: "app=bound", ResourceVersion: l.ResourceVersion})
		if err != nil {
			return err
		}
		err = until(ctx, w, func(e watch.Event) bool { p, ok := e.Object.(*corev1.Pod); return ok && all(p) })
		w.Stop()
		if !errors.Is(err, errEnded) {
			if err != nil {
				err = fmt.Errorf("%d of %d bound: %w", len(bound), n, err)
			}
			return err
		}
	}
}

// spread shares the numbers 0 to n out among clients.
func spread[C any](clients []C, n int, do func(client C, i int) error) error {
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	var next atomic.Int64
	for i, k := range clients {
		wg.Go(func() {
			for j := int(next.Add(1)) - 1; j < n; j = int(next.Add(1)) - 1 {
				if errs[i] = do(k, j); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// stored asks what an object costs: by how much the cluster has grown once it
// holds many, and has come to rest, as it had before.
func stored(ctx context.Context, c *cluster) ([]figure, error) {
	// Long enough that a process has rested, and has again in memory what it
	// needs of its own program while nothing happens.
	const n, settle = 20_000, 30 * time.Second
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	before := pss(c.pids())
	if err := fill(ctx, c, "stored", n, ownKiB); err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	after := pss(c.pids())
	client, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return []figure{{Name: "memory a stored 1 KiB object (PSS)", Unit: "B", Value: (after - before) / n}}, client.remove(configMaps, "stored=yes")
}

func simulatedNode(ctx context.Context, k kubernetes.Interface, i int) error {
	name := fmt.Sprintf("sim-%04d", i)
	capacity := corev1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("32Gi"), "pods": resource.MustParse("110")}
	n, err := k.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"simulated": "yes", "kubernetes.io/hostname": name}}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	n.Status = corev1.NodeStatus{Capacity: capacity, Allocatable: capacity, Conditions: []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
		LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
	}}}
	n.ResourceVersion = "" // whatever a controller has written meanwhile
	_, err = k.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
	return err
}
