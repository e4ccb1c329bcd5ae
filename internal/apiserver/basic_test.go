package apiserver_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

var mediaTypes = map[string]string{"json": runtime.ContentTypeJSON, "protobuf": runtime.ContentTypeProtobuf}

func TestObjectsLife(t *testing.T) {
	c := start(t)
	for name, media := range mediaTypes {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			maps := c.admin(media).CoreV1().ConfigMaps("default")
			w, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "run=" + name})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			a, err := maps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "a-", Labels: map[string]string{"run": name}}, Data: map[string]string{"k": "1"},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Name) != 7 || a.UID == "" || a.ResourceVersion == "" || a.CreationTimestamp.IsZero() || a.Namespace != "default" {
				t.Errorf("created: %+v", a)
			}
			got, err := maps.Get(ctx, a.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a, got); d != "" {
				t.Errorf("got another object than was created: %s", d)
			}
			b := got.DeepCopy()
			b.Data["k"] = "2"
			if b, err = maps.Update(ctx, b, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			same, err := maps.Update(ctx, b, metav1.UpdateOptions{})
			if err != nil || same.ResourceVersion != b.ResourceVersion {
				t.Errorf("an update that changes nothing: %v %v", same, err)
			}
			_, err = maps.Update(ctx, got, metav1.UpdateOptions{})
			if want := `Operation cannot be fulfilled on configmaps "` + a.Name + `": the object has been modified; please apply your changes to the latest version and try again`; !apierrors.IsConflict(err) || err.Error() != want {
				t.Errorf("stale update: %v", err)
			}
			p, err := maps.Patch(ctx, a.Name, types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"run":null}}}`), metav1.PatchOptions{})
			if err != nil || len(p.Labels) != 0 {
				t.Fatal(p, err)
			}
			if _, err := maps.Patch(ctx, a.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"run":"`+name+`"}}}`), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "run=" + name})
			if err != nil || len(list.Items) != 1 || list.Items[0].Name != a.Name {
				t.Errorf("list: %v %v", list, err)
			}
			if err := maps.Delete(ctx, a.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err = maps.Get(ctx, a.Name, metav1.GetOptions{})
			if want := `configmaps "` + a.Name + `" not found`; !apierrors.IsNotFound(err) || err.Error() != want {
				t.Errorf("get after delete: %v", err)
			}
			for _, want := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted, watch.Added, watch.Deleted} {
				ev := next(t, ctx, w)
				if ev.Type != want || ev.Object.(*corev1.ConfigMap).Name != a.Name {
					t.Errorf("event %v %v, want %v", ev.Type, ev.Object, want)
				}
			}
		})
	}
}

// next returns the next event of a watch.
func next(t *testing.T, ctx context.Context, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case ev, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch ended")
		}
		return ev
	case <-ctx.Done():
		t.Fatal("no event came")
	}
	return watch.Event{}
}

func TestBootstrap(t *testing.T) {
	c := start(t)
	k := c.admin(runtime.ContentTypeProtobuf)
	ns, err := k.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range ns.Items {
		names = append(names, n.Name)
		if n.Status.Phase != corev1.NamespaceActive || len(n.Spec.Finalizers) != 1 || n.Labels[corev1.LabelMetadataName] != n.Name {
			t.Errorf("%+v", n)
		}
	}
	if d := cmp.Diff([]string{"default", "kube-node-lease", "kube-public", "kube-system"}, names); d != "" {
		t.Error(d)
	}
	svc, err := k.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil || svc.Spec.ClusterIP != "10.96.0.1" || svc.Spec.IPFamilies[0] != corev1.IPv4Protocol {
		t.Errorf("%+v %v", svc, err)
	}
	eps, err := k.DiscoveryV1().EndpointSlices("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil || eps.Endpoints[0].Addresses[0] != "192.0.2.1" {
		t.Errorf("%+v %v", eps, err)
	}
	// What is the server's own comes back.
	w, err := k.CoreV1().Services("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: svc.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := k.CoreV1().Services("default").Delete(t.Context(), "kubernetes", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []watch.EventType{watch.Deleted, watch.Added} {
		if ev := next(t, t.Context(), w); ev.Type != want || ev.Object.(*corev1.Service).Spec.ClusterIP != "10.96.0.1" {
			t.Errorf("%+v, want %s", ev, want)
		}
	}
}
