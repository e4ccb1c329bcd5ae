package apiserver_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"clipper/internal/apiserver"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	testclock "k8s.io/utils/clock/testing"
)

// put creates ConfigMaps of the names.
func put(t testing.TB, maps corev1client.ConfigMapInterface, names ...string) (last *corev1.ConfigMap) {
	t.Helper()
	for _, n := range names {
		var err error
		if last, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: n}, Data: map[string]string{"k": n}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func TestListInPages(t *testing.T) {
	c := start(t)
	maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
	for i := range 10 {
		put(t, maps, fmt.Sprintf("m%02d", i))
	}
	ctx := t.Context()
	first, err := maps.List(ctx, metav1.ListOptions{Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Items) != 4 || first.RemainingItemCount == nil || *first.RemainingItemCount != 6 {
		t.Errorf("%+v", first.ListMeta)
	}
	// The pages that follow are of the same state.
	put(t, maps, "m00a", "m05a")
	if err := maps.Delete(ctx, "m06", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var names []string
	page := first
	for {
		for _, m := range page.Items {
			names = append(names, m.Name)
		}
		if page.ResourceVersion != first.ResourceVersion {
			t.Errorf("page of %s within a list of %s", page.ResourceVersion, first.ResourceVersion)
		}
		if page.Continue == "" {
			break
		}
		if page, err = maps.List(ctx, metav1.ListOptions{Limit: 4, Continue: page.Continue}); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(names); got != "[m00 m01 m02 m03 m04 m05 m06 m07 m08 m09]" {
		t.Error(got)
	}
	// An exact revision that is kept by the store alone.
	old, err := maps.List(ctx, metav1.ListOptions{ResourceVersion: first.Items[3].ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	if err != nil || len(old.Items) != 4 || old.ResourceVersion != first.Items[3].ResourceVersion {
		t.Errorf("%v %v", old, err)
	}
	// With selectors the rest is not counted.
	page, err = maps.List(ctx, metav1.ListOptions{Limit: 1, FieldSelector: "metadata.name!=m00"})
	if err != nil || page.RemainingItemCount != nil || page.Continue == "" || page.Items[0].Name != "m00a" {
		t.Errorf("%+v %v", page, err)
	}
	// Once the past is forgotten, the list can be ended inconsistently only.
	compactTo, _ := strconv.ParseInt(put(t, maps, "z").ResourceVersion, 10, 64)
	token := page.Continue
	for range 9 { // push the kept snapshots out
		put(t, maps, "y")
		if _, err := maps.List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			t.Fatal(err)
		}
		if err := maps.Delete(ctx, "y", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.store.Compact(ctx, compactTo); err != nil {
		t.Fatal(err)
	}
	_, err = maps.List(ctx, metav1.ListOptions{Limit: 100, Continue: token})
	if !apierrors.IsResourceExpired(err) {
		t.Fatal(err)
	}
	again := err.(apierrors.APIStatus).Status().ListMeta.Continue
	rest, err := maps.List(ctx, metav1.ListOptions{Limit: 100, Continue: again})
	if err != nil || len(rest.Items) == 0 || rest.Items[len(rest.Items)-1].Name != "z" {
		t.Errorf("%+v %v", rest, err)
	}
}

func TestWatchSelection(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
	start := put(t, maps, "a", "b").ResourceVersion
	w, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "in", ResourceVersion: start})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	one, err := maps.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=b"})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Stop()
	patch := func(name, p string) *corev1.ConfigMap {
		m, err := maps.Patch(ctx, name, types.MergePatchType, []byte(p), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	patch("a", `{"metadata":{"labels":{"in":"1"}}}`)
	patch("a", `{"data":{"k":"in"}}`)
	patch("b", `{"data":{"k":"out"}}`)
	left := patch("a", `{"metadata":{"labels":{"in":null}},"data":{"k":"left"}}`)
	for i, want := range []struct {
		t watch.EventType
		k string
	}{{watch.Added, "a"}, {watch.Modified, "in"}, {watch.Deleted, "in"}} {
		ev := next(t, ctx, w)
		m := ev.Object.(*corev1.ConfigMap)
		if ev.Type != want.t || m.Data["k"] != want.k || m.Name != "a" {
			t.Errorf("event %d: %v %v", i, ev.Type, m)
		}
		if ev.Type == watch.Deleted && (m.ResourceVersion != left.ResourceVersion || m.Labels["in"] != "1") {
			t.Errorf("what left is told as it was, at the revision it left: %v", m)
		}
	}
	for i, want := range []string{"b", "out"} {
		if ev := next(t, ctx, one); ev.Object.(*corev1.ConfigMap).Data["k"] != want {
			t.Errorf("event %d: %v", i, ev)
		}
	}
}

func TestWatchListAndBookmarks(t *testing.T) {
	clk := testclock.NewFakeClock(time.Now())
	c := start(t, func(c *apiserver.Config) { c.Clock = clk })
	ctx := t.Context()
	for name, media := range mediaTypes {
		t.Run(name, func(t *testing.T) {
			k := c.admin(media).CoreV1()
			maps := k.ConfigMaps("default")
			put(t, maps, name+"1", name+"2")
			yes := true
			w, err := maps.Watch(ctx, metav1.ListOptions{
				SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			seen := map[string]bool{}
			for {
				ev := next(t, ctx, w)
				m := ev.Object.(*corev1.ConfigMap)
				if ev.Type == watch.Bookmark {
					if m.Annotations[metav1.InitialEventsAnnotationKey] != "true" || m.ResourceVersion == "" {
						t.Errorf("%+v", m)
					}
					break
				}
				if ev.Type != watch.Added {
					t.Errorf("%+v", ev)
				}
				seen[m.Name] = true
			}
			if !seen[name+"1"] || !seen[name+"2"] {
				t.Error(seen)
			}
			// A write elsewhere moves the revision on; the bookmark tells.
			s, err := k.Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for !clk.HasWaiters() { // the watch's timers are set before its first event is sent
				t.Fatal("nothing waits for the clock")
			}
			clk.Step(2 * time.Minute)
			ev := next(t, ctx, w)
			if ev.Type != watch.Bookmark || atoi(t, ev.Object.(*corev1.ConfigMap).ResourceVersion) < atoi(t, s.ResourceVersion) {
				t.Errorf("%+v, want a bookmark at %s", ev, s.ResourceVersion)
			}
		})
	}
}

func TestWatchExpired(t *testing.T) {
	c := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
	w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	// The first writes of the server itself were after 1: nothing is lost.
	put(t, maps, "a")
	if ev := next(t, ctx, w); ev.Type != watch.Added {
		t.Errorf("%+v", ev)
	}
	// A server that starts later knows nothing of the time before.
	d := startOn(t, c.store)
	late, err := d.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Stop()
	ev := next(t, ctx, late)
	if err := apierrors.FromObject(ev.Object); ev.Type != watch.Error || !apierrors.IsResourceExpired(err) {
		t.Errorf("%+v %v", ev, err)
	}
}
