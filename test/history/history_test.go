package history_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"clipper/test/cluster"
	"clipper/test/history"
)

// within is how long clients are let loose on each cluster; HISTORY=10m makes
// it longer.
func within(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("HISTORY")
	if v == "" {
		return 25 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("HISTORY: %v", err)
	}
	return d
}

// clients returns how the n-th client reaches the cluster: a connection of its
// own, every other in protobuf.
func clients(t *testing.T, c *cluster.Cluster, namespace string) func(n int) corev1client.ConfigMapInterface {
	return func(n int) corev1client.ConfigMapInterface {
		cfg := c.RestConfig()
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		if n%2 == 0 {
			cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
		}
		k, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			t.Error(err) // Fatal is not for goroutines
			return nil
		}
		return k.CoreV1().ConfigMaps(namespace)
	}
}

var keys = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

// play lets clients loose on a new namespace, for a while and four rounds at
// least. In every round disturb, if there is one, is called in the middle of the
// writes.
func play(t *testing.T, c *cluster.Cluster, namespace string, d time.Duration, disturb func(down func() (back func()))) *history.History {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*d+2*time.Minute)
	defer cancel()
	if _, err := c.Client().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := history.NewRecorder(clients(t, c, namespace))
	const last = "last"
	var watching sync.WaitGroup
	var said atomic.Int64 // how often what is last was written
	for i, how := range []history.Watching{
		{Name: "stays"},
		{Name: "comes back", Leave: 20},
		{Name: "odd", Label: "odd", Leave: 30},
		{Name: "streams", Stream: true, Leave: 15},
		{Name: "even streams", Label: "even", Stream: true},
	} {
		watching.Go(func() {
			switch value := r.Watch(ctx, 100+i, how, last); {
			case value == "":
				t.Errorf("watcher %q was never told of what was written last", how.Name)
			case !strings.HasPrefix(value, lastValue(said.Load())):
				t.Errorf("watcher %q was told of %s only when there was more to tell", how.Name, value)
			}
		})
	}
	begin := time.Now()
	for rounds := 0; (rounds < 4 || time.Since(begin) < d) && ctx.Err() == nil; rounds++ {
		var round sync.WaitGroup
		for i := range 6 {
			round.Go(func() { r.Write(ctx, i, 150, keys) })
		}
		for i := range 2 {
			round.Go(func() { r.List(ctx, 50+i, 30) })
		}
		if disturb != nil {
			disturb(r.Down)
		}
		round.Wait()
		if _, err := r.History(); err != nil {
			break
		}
	}
	// What all watchers wait for. It is said again for those who were away and
	// began anew when it was over, as a client may that waits after a refusal.
	told := make(chan struct{})
	go func() { watching.Wait(); close(told) }()
	for away := true; away; {
		sayLast(t, ctx, r.Clients(0), last, said.Add(1))
		select {
		case <-told:
			away = false
		case <-time.After(15 * time.Second):
			away = ctx.Err() == nil
		}
	}
	<-told
	h, err := r.History()
	if err != nil {
		t.Error(err)
	}
	return h
}

// lastValue begins the values of what is written last, for the n-th time.
func lastValue(n int64) string { return fmt.Sprintf("last %d.", n) }

// sayLast creates and deletes an object of each half, the even one last.
func sayLast(t *testing.T, ctx context.Context, maps corev1client.ConfigMapInterface, last string, n int64) {
	t.Helper()
	for i, found := 0, map[string]bool{}; len(found) < 2; i++ {
		v := fmt.Sprint(lastValue(n), i)
		half := history.Half(v)
		if found[half] {
			continue
		}
		found[half] = true
		_, err := maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: last + "-" + half, Labels: map[string]string{"half": half}}, Data: map[string]string{"v": v},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, half := range []string{"odd", "even"} {
		if err := maps.Delete(ctx, last+"-"+half, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func check(t *testing.T, h *history.History) {
	t.Helper()
	events := 0
	for _, s := range h.Segments {
		events += len(s.Events)
	}
	t.Logf("%d calls, %d lists, %d events in %d stretches", len(h.Ops), len(h.Lists), events, len(h.Segments))
	if len(h.Ops) < 500 || len(h.Lists) < 40 || events < 500 {
		t.Error("too little happened to learn from")
	}
	wrong := history.Check(h)
	for _, w := range wrong[:min(len(wrong), 10)] {
		t.Error(w)
	}
}

func TestMemory(t *testing.T) {
	c := cluster.Start(t, "--memory-store")
	check(t, play(t, c, "history", within(t), nil))
	faults(t, play(t, c, "faults", 0, nil))
}

// TestKills: what was acknowledged outlives a SIGKILL, and nobody is told
// otherwise.
func TestKills(t *testing.T) {
	c := cluster.Start(t)
	const namespace = "history"
	check(t, play(t, c, namespace, within(t), func(down func() (back func())) {
		// In the midst of writes: when so many of them have been seen.
		w, err := clients(t, c, namespace)(0).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		for range 50 + rand.IntN(200) {
			<-w.ResultChan()
		}
		back := down()
		c.KillServer()
		c.Resume()
		back()
	}))
}

// faults seeds what a broken server might tell into a history that is right,
// and looks whether the checks see it.
func faults(t *testing.T, good *history.History) {
	t.Helper()
	segment := func(h *history.History, name string) *history.Segment {
		for i := range h.Segments {
			if s := &h.Segments[i]; s.Watcher == name && len(s.Events) > 50 {
				return s
			}
		}
		t.Fatalf("watcher %s saw too little", name)
		return nil
	}
	op := func(h *history.History, fits func(*history.Op) bool) *history.Op {
		n := len(h.Ops)
		for i := range n {
			if o := &h.Ops[(n/2+i)%n]; fits(o) {
				return o
			}
		}
		t.Fatal("no call is of that kind")
		return nil
	}
	list := func(h *history.History, fits func(*history.List) bool) *history.List {
		n := len(h.Lists)
		for i := range n {
			if l := &h.Lists[(n/2+i)%n]; fits(l) {
				return l
			}
		}
		t.Fatal("no list is of that kind")
		return nil
	}
	written := func(o *history.Op) bool { return o.Outcome == history.Done && o.Verb == "update" }
	for _, f := range []struct {
		name string
		seed func(h *history.History)
		want string // expression
	}{
		{"an event is lost", func(h *history.History) {
			s := segment(h, "comes back")
			s.Events = slices.Delete(s.Events, 30, 31)
		}, "saw other events|although it being there"}, // after a creation or deletion
		{"an event comes twice", func(h *history.History) {
			s := segment(h, "comes back")
			s.Events = slices.Insert(s.Events, 30, s.Events[30])
		}, "comes after"},
		{"events are swapped", func(h *history.History) {
			s := segment(h, "stays")
			s.Events[30], s.Events[31] = s.Events[31], s.Events[30]
		}, "comes after"},
		{"an object leaves a selection unsaid", func(h *history.History) {
			s := segment(h, "odd")
			i := slices.IndexFunc(s.Events, func(e history.Event) bool { return e.Type == "DELETED" })
			s.Events = slices.Delete(s.Events, i, i+1)
		}, "saw other events|although it being there"}, // if it comes back, it was there
		{"a creation is told as a change", func(h *history.History) {
			s := segment(h, "stays")
			i := slices.IndexFunc(s.Events, func(e history.Event) bool { return e.Type == "ADDED" })
			s.Events[i].Type = "MODIFIED"
		}, "although it being there"},
		{"an acknowledged write is undone", func(h *history.History) {
			o := op(h, written)
			for i := range h.Segments {
				h.Segments[i].Events = slices.DeleteFunc(h.Segments[i].Events, func(e history.Event) bool { return e.Revision == o.Got.Revision })
			}
		}, "was not told of the update"},
		{"a read is old", func(h *history.History) {
			o := op(h, func(o *history.Op) bool { return o.Verb == "get" && o.Got.Value != "" })
			for i := range h.Ops {
				if p := &h.Ops[i]; p.Key == o.Key && written(p) && p.Return < o.Call {
					o.Got = p.Got // the very first
					return
				}
			}
		}, "no order explains"},
		{"two updates from one revision succeed", func(h *history.History) {
			type from struct {
				key      string
				revision int64
			}
			succeeded := map[from]bool{}
			for _, o := range h.Ops {
				if written(&o) && o.Expect != 0 {
					succeeded[from{o.Key, o.Expect}] = true
				}
			}
			o := op(h, func(o *history.Op) bool {
				return o.Outcome == history.Refused && o.Verb == "update" && succeeded[from{o.Key, o.Expect}]
			})
			o.Outcome, o.Got = history.Done, history.State{Value: o.Value, Revision: 1 << 40}
		}, "no order explains"},
		{"an apply is refused", func(h *history.History) {
			op(h, func(o *history.Op) bool { return o.Verb == "apply" && o.Outcome == history.Done }).Outcome = history.Refused
		}, "no order explains"},
		{"a revision is given twice", func(h *history.History) {
			first := op(h, written)
			second := op(h, func(o *history.Op) bool { return written(o) && o.Call > first.Return })
			second.Got.Revision = first.Got.Revision
		}, "had got"},
		{"a list lacks an object", func(h *history.History) {
			l := list(h, func(l *history.List) bool { return len(l.Items) > 1 })
			for k := range l.Items {
				delete(l.Items, k)
				break
			}
		}, "a list at"},
		{"a list mixes revisions", func(h *history.History) {
			l := list(h, func(l *history.List) bool { return len(l.Items) > 1 && l.Label == "" && !l.Fresh })
			for k, st := range l.Items {
				l.Items[k] = history.State{Value: st.Value + "x", Revision: l.Revision}
				break
			}
		}, "a list at"},
		{"a list that is to be fresh is old", func(h *history.History) {
			o := op(h, written)
			l := list(h, func(l *history.List) bool { return l.Fresh && l.Call > o.Return })
			l.Revision = o.Got.Revision - 1
		}, "a list got revision"},
	} {
		h := &history.History{Ops: slices.Clone(good.Ops)}
		for _, l := range good.Lists {
			items := map[string]history.State{}
			for k, st := range l.Items {
				items[k] = st
			}
			l.Items = items
			h.Lists = append(h.Lists, l)
		}
		for _, s := range good.Segments {
			s.Events = slices.Clone(s.Events)
			h.Segments = append(h.Segments, s)
		}
		f.seed(h)
		if wrong := strings.Join(history.Check(h), "\n"); !regexp.MustCompile(f.want).MatchString(wrong) {
			t.Errorf("%s, and the checks say %.2000q", f.name, wrong)
		}
	}
}
