package cache_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"
	"clipper/internal/store"
	"clipper/internal/store/pebble"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

type fixture struct {
	t     testing.TB
	store store.Store
	cache *cache.Cache
	pods  *scheme.Resource
	r     *cache.Resource
}

func newFixture(t testing.TB, clk clock.Clock) *fixture {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := pebble.Open(pebble.Config{Memory: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	f := &fixture{t: t, store: db}
	table := scheme.New()
	f.pods = table.ByPath("", "v1", "pods")
	f.open(table, clk, log)
	return f
}

func (f *fixture) open(table *scheme.Table, clk clock.Clock, log *slog.Logger) {
	f.t.Helper()
	f.cache = cache.New(cache.Config{
		Store: f.store, Resources: table.Resources(), Clock: clk, Logger: log,
		Indexed: map[schema.GroupResource]string{{Resource: "pods"}: "spec.nodeName"},
	})
	f.r = f.cache.Resource(f.pods)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.cache.Run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Error(err)
		}
	})
	if err := f.cache.Ready(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// write creates, updates (state is what the pod says) or deletes (nil).
func (f *fixture) write(p *corev1.Pod, name string, expect int64, handOn bool) int64 {
	f.t.Helper()
	w := store.Write{Key: f.pods.Key("ns", name), Expect: expect}
	if p != nil {
		p = p.DeepCopy()
		p.APIVersion, p.Kind = "v1", "Pod"
		var err error
		if w.Value, err = scheme.EncodeStored(p); err != nil {
			f.t.Error(err)
		}
		if handOn {
			w.Object = p
		}
	}
	rev, err := f.store.Apply(context.Background(), w)
	if err != nil {
		f.t.Error(err)
	}
	return rev
}

func pod(name, node, label string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", Labels: map[string]string{"l": label}},
		Spec:       corev1.PodSpec{NodeName: node},
	}
}

// view is what a watcher believes there is, from its events alone.
type view struct {
	have map[string]int64
	last int64
}

// follow applies events until the revision is reached, checking that each is
// possible after the last.
func (v *view) follow(w *cache.Watcher, until int64, done <-chan struct{}) error {
	for {
		b, bell, err := w.Next()
		if err != nil {
			return err
		}
		for _, d := range b.Deliveries() {
			if err := v.apply(d); err != nil {
				return err
			}
		}
		if bell == nil {
			continue
		}
		if w.Progress() >= until {
			return nil
		}
		select {
		case <-bell:
		case <-done:
			// All is written: what is still to come is there at the next look,
			// or is rung for.
			done = nil
		}
	}
}

func (v *view) apply(d cache.Delivery) error {
	key, rev := d.Entry.Key, d.Entry.Revision
	if m := d.Entry.Meta().GetResourceVersion(); m != strconv.FormatInt(rev, 10) {
		return fmt.Errorf("%s: entry of revision %d says %s", key, rev, m)
	}
	was, had := v.have[key]
	switch d.Type {
	case watch.Added:
		if had {
			return fmt.Errorf("%s added twice, at %d and %d", key, was, rev)
		}
		v.have[key] = rev
	case watch.Modified:
		if !had || rev <= was {
			return fmt.Errorf("%s modified at %d after %d", key, rev, was)
		}
		v.have[key] = rev
	case watch.Deleted:
		if !had || rev <= was {
			return fmt.Errorf("%s deleted at %d after %d", key, rev, was)
		}
		delete(v.have, key)
	}
	return nil
}

// TestWatchersAgree lets many watchers of many selections come at any time and
// checks that each one's events add up to the state in the end.
func TestWatchersAgree(t *testing.T) {
	f := newFixture(t, clock.RealClock{})
	const writers, each, names = 4, 1500, 10
	in, err := labels.Parse("l in (a,b)")
	if err != nil {
		t.Fatal(err)
	}
	selections := []*cache.Selection{
		f.r.Select("", nil, nil),
		f.r.Select("ns", nil, nil),
		f.r.Select("other", nil, nil),
		f.r.Select("", in, nil),
		f.r.Select("", nil, fields.ParseSelectorOrDie("spec.nodeName=n1")),
		f.r.Select("ns", in, fields.ParseSelectorOrDie("spec.nodeName=n2")),
		f.r.Select("", nil, fields.ParseSelectorOrDie("spec.nodeName!=n2")),
		f.r.Select("ns", nil, fields.ParseSelectorOrDie("metadata.name=w1-3")),
	}
	var (
		writing, watching sync.WaitGroup
		done              = make(chan struct{})
		ends              sync.Map
	)
	for w := range writers {
		writing.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 7))
			state := map[string]int64{}
			for range each {
				name := fmt.Sprintf("w%d-%d", w, rnd.IntN(names))
				if state[name] != 0 && rnd.IntN(4) == 0 {
					f.write(nil, name, state[name], false)
					state[name] = 0
					continue
				}
				p := pod(name, []string{"", "n1", "n2"}[rnd.IntN(3)], []string{"a", "b", "c"}[rnd.IntN(3)])
				state[name] = f.write(p, name, state[name], rnd.IntN(2) == 0)
			}
		})
	}
	for n := range 120 {
		watching.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 11))
			crowd := n >= 40
			sel := selections[n%len(selections)]
			for { // come at different times
				if s := f.r.Snapshot(); s.Revision > int64(rnd.IntN(writers*each)) {
					break
				}
			}
			v := view{have: map[string]int64{}}
			o := cache.WatchOptions{Initial: true}
			if n%2 == 0 {
				s := f.r.Snapshot()
				s.Ascend(sel, "", func(e *cache.Entry) bool {
					if sel.Matches(e) {
						v.have[e.Key] = e.Revision
					}
					return true
				})
				o = cache.WatchOptions{Revision: s.Revision}
			}
			o.Crowd = crowd
			w, err := f.r.Watch(context.Background(), sel, o)
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			if !crowd {
				<-done // the slowest there can be, but for those who come late
			}
			if crowd && n%5 == 0 { // somebody leaves while others are told
				// At least as many revisions as writes there will be.
				if err := v.follow(w, min(w.Progress()+int64(rnd.IntN(500)), writers*each), done); err != nil {
					t.Errorf("watcher %d, who leaves: %v", n, err)
				}
				return
			}
			err = v.follow(w, f.cache.Revision(), done)
			if err == nil && crowd {
				<-done
				err = v.follow(w, f.cache.Revision(), nil)
			}
			if err != nil {
				t.Errorf("watcher %d: %v", n, err)
				return
			}
			ends.Store(n, v.have)
		})
	}
	writing.Wait()
	close(done)
	watching.Wait()
	s := f.r.Snapshot()
	ends.Range(func(k, v any) bool {
		sel := selections[k.(int)%len(selections)]
		want := map[string]int64{}
		s.Ascend(f.r.Select("", nil, nil), "", func(e *cache.Entry) bool {
			if sel.Matches(e) {
				want[e.Key] = e.Revision
			}
			return true
		})
		if got := v.(map[string]int64); !maps.Equal(got, want) {
			t.Errorf("watcher %d has %v, want %v", k, got, want)
		}
		return true
	})
	// What is in the cache is what is in the store.
	page, err := f.store.List(t.Context(), store.Range{Prefix: f.pods.Key("", "")})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != s.Len() {
		t.Errorf("%d in the store, %d in the cache", len(page.Items), s.Len())
	}
	for _, it := range page.Items {
		if e := s.Get(it.Key[len(f.pods.Key("", "")):]); e == nil || e.Revision != it.Revision || e.Sum != cache.Sum(it.Value) {
			t.Errorf("%s is %d in the store, %+v in the cache", it.Key, it.Revision, e)
		}
	}
}

func TestSnapshotsStay(t *testing.T) {
	f := newFixture(t, clock.RealClock{})
	var snaps []*cache.Snapshot
	var want []string
	state := map[string]int64{}
	all := f.r.Select("", nil, nil)
	show := func(s *cache.Snapshot) string {
		var out []string
		s.Ascend(all, "", func(e *cache.Entry) bool {
			out = append(out, fmt.Sprint(e.Key, e.Revision))
			return true
		})
		return fmt.Sprint(out)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		name := fmt.Sprint("p", rnd.IntN(100))
		if state[name] != 0 && rnd.IntN(3) == 0 {
			f.write(nil, name, state[name], false)
			state[name] = 0
		} else {
			state[name] = f.write(pod(name, "", ""), name, state[name], true)
		}
		s := f.r.Snapshot()
		snaps, want = append(snaps, s), append(want, show(s))
	}
	for i, s := range snaps {
		if got := show(s); got != want[i] {
			t.Fatalf("snapshot %d changed: %s, was %s", i, got, want[i])
		}
		old, err := f.r.At(t.Context(), s.Revision)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(old); got != want[i] {
			t.Fatalf("read at %d: %s, want %s", s.Revision, got, want[i])
		}
	}
}

// TestCompacted asks for a state that is the newest still, at a revision that
// the store has forgotten, and for one that is kept.
func TestCompacted(t *testing.T) {
	f := newFixture(t, clock.RealClock{})
	first := f.write(pod("a", "", ""), "a", 0, true)
	f.r.Keep(f.r.Snapshot())
	second := f.write(pod("b", "", ""), "b", 0, true)
	f.store.Apply(t.Context(), store.Write{Key: "/registry/other/x", Value: []byte("x")})
	last, err := f.store.Apply(t.Context(), store.Write{Key: "/registry/other/y", Value: []byte("y")})
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []int64{first, second, last} {
		if _, err := f.r.At(t.Context(), revision); err != nil {
			t.Error(err)
		}
	}
	if err := f.store.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	for _, revision := range []int64{first, second} {
		if _, err := f.r.At(t.Context(), revision); !apierrors.IsResourceExpired(err) {
			t.Errorf("at %d of %d: %v", revision, last, err)
		}
	}
	if _, err := f.r.At(t.Context(), last); err != nil {
		t.Error(err)
	}
}

func TestFallingBehind(t *testing.T) {
	clk := testclock.NewFakeClock(time.Now())
	f := newFixture(t, clk)
	all := f.r.Select("", nil, nil)
	w, err := f.r.Watch(t.Context(), all, cache.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	first := f.write(pod("a", "", ""), "a", 0, true)
	last := first
	for range 400 { // a window keeps its least however old it is
		clk.Step(time.Hour)
		last = f.write(pod("a", "", fmt.Sprint(last)), "a", last, true)
	}
	if _, _, err := w.Next(); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watcher that fell out of the window: %v", err)
	}
	_, err = f.r.Watch(t.Context(), all, cache.WatchOptions{Revision: first})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch from before the window: %v", err)
	}
	recent, err := f.r.Watch(t.Context(), all, cache.WatchOptions{Revision: last - 100})
	if err != nil {
		t.Fatal(err)
	}
	defer recent.Close()
	got, _, err := recent.Next()
	if err != nil || len(got.Deliveries()) != 100 {
		t.Errorf("%d events, %v", len(got.Deliveries()), err)
	}
}

func TestRevisionToCome(t *testing.T) {
	clk := testclock.NewFakeClock(time.Now())
	f := newFixture(t, clk)
	errs := make(chan error, 1)
	next := f.cache.Revision() + 1 // before the write, whenever the wait begins
	go func() { errs <- f.cache.WaitFor(context.Background(), next) }()
	f.write(pod("a", "", ""), "a", 0, true)
	if err := <-errs; err != nil {
		t.Error(err)
	}
	go func() { errs <- f.cache.WaitFor(context.Background(), f.cache.Revision()+100) }()
	for !clk.HasWaiters() {
	}
	clk.Step(3 * time.Second)
	if err := <-errs; !apierrors.IsTimeout(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		t.Error(err)
	}
}

// TestListWatchShares checks that consumers in the process get the very
// objects, and that the index narrows what they get.
func TestListWatchShares(t *testing.T) {
	f := newFixture(t, clock.RealClock{})
	on := f.cache.ListWatch(f.pods, "", nil, fields.OneTermEqualSelector("spec.nodeName", "n1"))
	objs, rv, err := on.List()
	if err != nil || len(objs) != 0 {
		t.Fatal(objs, err)
	}
	w, err := on.Watch(rv)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	at := f.write(pod("a", "n1", ""), "a", 0, true)
	f.write(pod("b", "n2", ""), "b", 0, true)
	ev := <-w.ResultChan()
	if have, ok := f.cache.Get(f.pods, "ns", "a"); !ok || have != ev.Object || ev.Type != watch.Added {
		t.Errorf("%v is not the cache's own object", ev)
	}
	moved := f.write(pod("a", "n2", ""), "a", at, true)
	if ev := <-w.ResultChan(); ev.Type != watch.Deleted || ev.Object.(*corev1.Pod).Spec.NodeName != "n1" ||
		ev.Object.(*corev1.Pod).ResourceVersion != strconv.FormatInt(moved, 10) {
		t.Errorf("%v", ev)
	}
	objs, _, err = f.cache.ListWatch(f.pods, "", nil, fields.OneTermEqualSelector("spec.nodeName", "n2")).List()
	if err != nil || len(objs) != 2 {
		t.Errorf("%v %v", objs, err)
	}
	got := make(chan metav1.Object)
	go func() { got <- f.cache.Await(context.Background(), schema.GroupResource{Resource: "pods"}, "ns", "c") }()
	f.write(pod("c", "", ""), "c", 0, false)
	if m := <-got; m == nil || m.GetName() != "c" {
		t.Error(m)
	}
}

// TestBytesOnce checks that an object is encoded once for all who ask.
func TestBytesOnce(t *testing.T) {
	f := newFixture(t, clock.RealClock{})
	f.write(pod("a", "", ""), "a", 0, true)
	e := f.r.Get("ns/a")
	n := 0
	enc := &cache.Encoder{Encode: func(o runtime.Object) ([]byte, error) {
		n++
		return scheme.EncodeJSON(nil, o)
	}}
	x, err := e.Bytes(enc)
	if err != nil {
		t.Fatal(err)
	}
	y, err := e.Bytes(enc)
	if err != nil || n != 1 || &x[0] != &y[0] {
		t.Errorf("encoded %d times, %v", n, err)
	}
}

// TestWindowsShrink checks that what a burst of writes left is given back.
func TestWindowsShrink(t *testing.T) {
	clk := testclock.NewFakeClock(time.Now())
	f := newFixture(t, clk)
	all := f.r.Select("", nil, nil)
	first := f.write(pod("a", "", ""), "a", 0, true)
	last := first
	for range 1000 {
		last = f.write(pod("a", "", fmt.Sprint(last)), "a", last, true)
	}
	w, err := f.r.Watch(t.Context(), all, cache.WatchOptions{Revision: first})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	for !clk.HasWaiters() {
	}
	clk.Step(2 * time.Minute)
	for { // the cache trims on a goroutine of its own
		w, err := f.r.Watch(t.Context(), all, cache.WatchOptions{Revision: first})
		if err != nil {
			if !apierrors.IsResourceExpired(err) {
				t.Error(err)
			}
			break
		}
		w.Close()
	}
	w, err = f.r.Watch(t.Context(), all, cache.WatchOptions{Revision: last - 128})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if got, _, err := w.Next(); err != nil || len(got.Deliveries()) != 128 {
		t.Errorf("%d events, %v", len(got.Deliveries()), err)
	}
}

// TestCrowd: many watchers are told of a burst together, and few, or those in
// this process, of every event at once.
func TestCrowd(t *testing.T) {
	clk := testclock.NewFakeClock(time.Now())
	f := newFixture(t, clk)
	rung := func(bell <-chan struct{}) bool {
		select {
		case <-bell:
			return true
		default:
			return false
		}
	}
	// atOnce waits for a bell that no clock need go on for.
	atOnce := func(bell <-chan struct{}, what string) {
		t.Helper()
		select {
		case <-bell:
		case <-time.After(10 * time.Second):
			t.Fatal(what)
		}
	}
	// next waits for the next bell of a watcher and returns what it was told.
	next := func(w *cache.Watcher) (told int, bell <-chan struct{}) {
		t.Helper()
		for bell == nil {
			var b *cache.Batch
			var err error
			if b, bell, err = w.Next(); err != nil {
				t.Fatal(err)
			}
			told += len(b.Deliveries())
		}
		return told, bell
	}
	watch := func(crowd bool) *cache.Watcher {
		t.Helper()
		w, err := f.r.Watch(t.Context(), f.r.Select("", nil, nil), cache.WatchOptions{Crowd: crowd})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	few := watch(true)
	_, bell := next(few)
	for i := range 3 {
		f.write(pod(fmt.Sprint("few", i), "", ""), fmt.Sprint("few", i), 0, true)
		atOnce(bell, "a single watcher was not told at once")
		_, bell = next(few)
	}
	clk.Step(time.Second)
	many := make([]*cache.Watcher, 100)
	for i := range many {
		many[i] = watch(true)
	}
	prompt := watch(false)
	_, soon := next(prompt)
	_, bell = next(many[0])
	f.write(pod("a", "", ""), "a", 0, true)
	atOnce(bell, "the first event of a burst was not told at once")
	atOnce(soon, "the first event of a burst was not told at once")
	_, bell = next(many[0])
	for i := range 5 {
		_, soon = next(prompt)
		f.write(pod(fmt.Sprint("b", i), "", ""), fmt.Sprint("b", i), 0, true)
		atOnce(soon, "one that cannot wait was not told at once")
	}
	if rung(bell) {
		t.Fatal("100 watchers are woken for every event")
	}
	clk.Step(10 * time.Millisecond)
	<-bell
	if told, _ := next(many[0]); told != 5 {
		t.Errorf("told of %d events, not 5", told)
	}
}

// TestShared: watchers of one selection are told the same batch, of which what
// clients get is made once; others are not.
func TestShared(t *testing.T) {
	clk := testclock.NewFakeClock(time.Now())
	f := newFixture(t, clk)
	by := &cache.Encoder{}
	made := 0
	watch := func(sel *cache.Selection) *cache.Watcher {
		t.Helper()
		w, err := f.r.Watch(t.Context(), sel, cache.WatchOptions{Crowd: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	next := func(w *cache.Watcher) *cache.Batch {
		t.Helper()
		b, bell, err := w.Next()
		if err != nil || bell != nil {
			t.Fatalf("nothing to tell: %v", err)
		}
		return b
	}
	labelled := labels.SelectorFromSet(labels.Set{"l": "a"})
	alike := []*cache.Watcher{watch(f.r.Select("", labelled, nil)), watch(f.r.Select("", labelled, nil))}
	single, slow := watch(f.r.Select("", labels.SelectorFromSet(labels.Set{"l": "b"}), nil)), watch(f.r.Select("", labelled, nil))
	f.write(pod("a", "", "a"), "a", 0, true)
	f.write(pod("b", "", "b"), "b", 0, true)
	shared := next(alike[0])
	if !shared.IsShared() || next(alike[1]) != shared {
		t.Error("two of one selection are not told the same")
	}
	for range 2 {
		n, err := cache.Shared(shared, by, func(ds []cache.Delivery) (int, error) {
			made++
			return len(ds), nil
		})
		if n != 1 || made != 1 || err != nil {
			t.Errorf("%d events made %d times: %v", n, made, err)
		}
	}
	if b := next(single); b.IsShared() || len(b.Deliveries()) != 1 || b.Deliveries()[0].Entry.Key != "ns/b" {
		t.Errorf("a selection of its own is told %v", b.Deliveries())
	}
	for i := range 10 {
		f.write(pod(fmt.Sprint("c", i), "", "a"), fmt.Sprint("c", i), 0, true)
	}
	if b := next(slow); b.IsShared() || len(b.Deliveries()) != 11 {
		t.Errorf("one who is far behind is told of %d events", len(b.Deliveries()))
	}
}

// TestInitialEndsBeforeEvents: the end of what existed is told before what
// came later, also if nothing existed.
func TestInitialEndsBeforeEvents(t *testing.T) {
	f := newFixture(t, clock.RealClock{})
	w, err := f.r.Watch(t.Context(), f.r.Select("", nil, nil), cache.WatchOptions{Initial: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	at := f.write(pod("a", "", ""), "a", 0, true)
	b, bell, err := w.Next()
	if len(b.Deliveries()) > 0 || bell != nil || err != nil {
		t.Fatalf("%d events, %v", len(b.Deliveries()), err)
	}
	if end := w.InitialDone(); end == 0 || end >= at {
		t.Errorf("what existed is of revision %d, and the write of %d", end, at)
	}
	if b, _, err = w.Next(); err != nil || len(b.Deliveries()) != 1 || b.Deliveries()[0].Entry.Revision != at {
		t.Errorf("%d events, %v", len(b.Deliveries()), err)
	}
}
