package cache_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"
	"clipper/internal/store"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
)

// Names of which one begins another, or sorts between a namespace and what is
// in it: where a scope is narrowed by the beginning of a key, these tell.
var (
	someNamespaces = []string{"a", "a-b", "ab", "b"}
	someNames      = []string{"a", "a-b", "ab", "x"}
	someNodes      = []string{"", "a", "a/b", "n"}
	someLabels     = []labels.Set{nil, {"l": ""}, {"l": "a"}, {"l": "b", "m": "5"}}
	somePhases     = []corev1.PodPhase{"", "Running"}
)

// script reads changes of pods, two bytes each: which pod, and what becomes of
// it; nil is a deletion.
func script(b []byte, change func(namespace, name string, p *corev1.Pod)) {
	for ; len(b) >= 2; b = b[2:] {
		namespace, name := someNamespaces[b[0]&3], someNames[b[0]>>2&3]
		if b[1]&0xc0 == 0xc0 {
			change(namespace, name, nil)
			continue
		}
		change(namespace, name, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: someLabels[b[1]&3]},
			Spec:       corev1.PodSpec{NodeName: someNodes[b[1]>>2&3]},
			Status:     corev1.PodStatus{Phase: somePhases[b[1]>>4&1]},
		})
	}
}

// word is an event, or an object of a list, on one line.
func word(t watch.EventType, key string, revision int64) string {
	return fmt.Sprint(t, " ", key, " ", revision)
}

// told returns all that a watcher has to tell now. The objects it tells of are
// as the selection saw them last, those too that leave it.
func told(t *testing.T, w *cache.Watcher, matches func(*corev1.Pod) bool) (words []string) {
	t.Helper()
	for {
		b, bell, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range b.Deliveries() {
			if !matches(d.Entry.Object.(*corev1.Pod)) {
				t.Errorf("%s of %+v, which is not selected", d.Type, d.Entry.Object)
			}
			words = append(words, word(d.Type, d.Entry.Key, d.Entry.Revision))
		}
		if bell != nil {
			return words
		}
	}
}

// However a selection narrows what is looked at, its lists hold what the plain
// selectors match of all there is, and its watches tell of it, and of nothing
// else.
func FuzzSelect(f *testing.F) {
	for i, field := range []string{
		"", "metadata.name=a", "metadata.name!=a", "metadata.namespace=a", "metadata.namespace!=a-b", "spec.nodeName=a", "spec.nodeName=",
		"spec.nodeName=a,spec.nodeName=n", "spec.nodeName!=n,metadata.name=x", "metadata.name=a,metadata.namespace=ab,spec.nodeName=a/b",
		`spec.nodeName=a\,b`, "status.phase=Running", "status.phase==,metadata.name!=", "metadata.namespace=a,metadata.namespace=b", "metadata.name=a/x",
	} {
		for j, label := range []string{"", "l", "!l", "l=a", "l!=a", "l in (a,)", "l notin (b),m", "m>4", "m<5,l"} {
			f.Add(append([]string{""}, someNamespaces...)[(i+j)%5], label, field, []byte{
				byte(i), byte(j), 5, 0x16, 5, 0x0a, 9, 1, 5, 0xff, byte(7 * i), byte(11 * j), 5, 2, 1, 3, 1, 0xc0, 14, byte(13*i + j),
			})
		}
	}
	x := newFixture(f, clock.RealClock{})
	runs := 0
	f.Fuzz(func(t *testing.T, namespace, label, field string, changes []byte) {
		l, err := labels.Parse(label)
		if err != nil {
			return
		}
		fs, err := fields.ParseSelector(field)
		if err != nil || len(changes) > 200 {
			return
		}
		matches := func(p *corev1.Pod) bool {
			return p != nil && (namespace == "" || p.Namespace == namespace) && l.Matches(labels.Set(p.Labels)) && fs.Matches(x.pods.Fields(p))
		}
		sel := x.r.Select(namespace, l, fs)
		list := func(s *cache.Snapshot, start string) (keys []string) {
			s.Ascend(sel, start, func(e *cache.Entry) bool {
				if sel.Whole() || sel.Matches(e) {
					keys = append(keys, word(watch.Added, e.Key, e.Revision))
				}
				return true
			})
			return keys
		}
		begin := func(o cache.WatchOptions) *cache.Watcher {
			w, err := x.r.Watch(t.Context(), sel, o)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}

		// Half of the changes are the state that watches begin with.
		var (
			all      = map[string]*corev1.Pod{}
			at       = map[string]int64{}
			recorded []string
		)
		apply := func(namespace, name string, p *corev1.Pod) {
			key := cache.Key(namespace, name)
			was := all[key]
			if was == nil && p == nil {
				return
			}
			w := store.Write{Key: x.pods.Key(namespace, name), Expect: at[key]}
			if p != nil {
				p.APIVersion, p.Kind = "v1", "Pod"
				if w.Value, err = scheme.EncodeStored(p); err != nil {
					t.Fatal(err)
				}
			}
			revision, err := x.store.Apply(context.Background(), w)
			if err != nil {
				t.Fatal(err)
			}
			all[key], at[key] = p, revision
			switch before, now := matches(was), matches(p); {
			case before && now:
				recorded = append(recorded, word(watch.Modified, key, revision))
			case now:
				recorded = append(recorded, word(watch.Added, key, revision))
			case before:
				recorded = append(recorded, word(watch.Deleted, key, revision))
			}
			if p == nil {
				delete(all, key)
				delete(at, key)
			}
		}
		half := len(changes) / 4 * 2
		script(changes[:half], apply)
		var state []string
		for key, p := range all {
			if matches(p) {
				state = append(state, word(watch.Added, key, at[key]))
			}
		}
		byKey := func(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) }
		slices.SortFunc(state, byKey)
		s := x.r.Snapshot()
		if got := list(s, ""); !slices.Equal(got, state) {
			t.Errorf("list: got  %q\nwant %q", got, state)
		}
		for _, start := range []string{"a", "a/", "a-b/a", "b/x\x00"} {
			rest := slices.DeleteFunc(slices.Clone(state), func(w string) bool { return strings.Fields(w)[1] < start })
			if got := list(s, start); !slices.Equal(got, rest) {
				t.Errorf("list from %q: got  %q\nwant %q", start, got, rest)
			}
		}

		live, initial := begin(cache.WatchOptions{}), begin(cache.WatchOptions{Initial: true})
		defer live.Close()
		defer initial.Close()
		recorded = nil
		script(changes[half:], apply)
		late := begin(cache.WatchOptions{Revision: s.Revision})
		defer late.Close()
		if got := told(t, live, matches); !slices.Equal(got, recorded) {
			t.Errorf("a watch: got  %q\nwant %q", got, recorded)
		}
		if got := told(t, initial, matches); !slices.Equal(got, append(state, recorded...)) {
			t.Errorf("a watch from the state on: got  %q\nwant %q", got, append(state, recorded...))
		}
		if got := told(t, late, matches); !slices.Equal(got, recorded) {
			t.Errorf("a watch from the past on: got  %q\nwant %q", got, recorded)
		}

		for key := range all { // leave nothing
			namespace, name, _ := strings.Cut(key, "/")
			apply(namespace, name, nil)
		}
		if runs++; runs%500 == 0 {
			if err := x.store.Compact(context.Background(), x.store.Revision()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
