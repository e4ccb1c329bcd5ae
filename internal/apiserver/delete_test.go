package apiserver_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

func aPod(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func seconds(n int64) *int64 { return &n }

func makePod(t *testing.T, k kubernetes.Interface, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	p, err := k.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPodDeletion(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeProtobuf)
	pods := k.CoreV1().Pods("default")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	gone := func(name string) {
		t.Helper()
		if _, err := pods.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s is not gone: %v", name, err)
		}
	}
	// Nobody runs it yet.
	makePod(t, k, aPod("free", ""))
	must(pods.Delete(ctx, "free", metav1.DeleteOptions{}))
	gone("free")

	made := makePod(t, k, aPod("bound", "n"))
	must(pods.Delete(ctx, "bound", metav1.DeleteOptions{}))
	p, err := pods.Get(ctx, "bound", metav1.GetOptions{})
	must(err)
	if p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 30 || p.Generation != made.Generation+1 {
		t.Errorf("%+v", p.ObjectMeta)
	}
	begun := p.DeletionTimestamp
	must(pods.Delete(ctx, "bound", metav1.DeleteOptions{}))
	same, err := pods.Get(ctx, "bound", metav1.GetOptions{})
	must(err)
	if same.ResourceVersion != p.ResourceVersion {
		t.Error("deleting again changed the pod")
	}
	must(pods.Delete(ctx, "bound", metav1.DeleteOptions{GracePeriodSeconds: seconds(5)}))
	p, err = pods.Get(ctx, "bound", metav1.GetOptions{})
	must(err)
	if *p.DeletionGracePeriodSeconds != 5 || begun.Sub(p.DeletionTimestamp.Time).Seconds() != 25 {
		t.Errorf("%+v", p.ObjectMeta)
	}
	other := types.UID("other")
	err = pods.Delete(ctx, "bound", metav1.DeleteOptions{GracePeriodSeconds: seconds(0), Preconditions: &metav1.Preconditions{UID: &other}})
	if want := `Operation cannot be fulfilled on Pod "bound": the UID in the precondition (other) does not match the UID in record (` + string(p.UID) + `). The object might have been deleted and then recreated`; err == nil || err.Error() != want {
		t.Errorf("%v, want %v", err, want)
	}
	must(pods.Delete(ctx, "bound", metav1.DeleteOptions{GracePeriodSeconds: seconds(0), Preconditions: &metav1.Preconditions{UID: &p.UID}}))
	gone("bound")

	// A finalizer outlives the kubelet.
	f := aPod("held", "n")
	f.Finalizers = []string{"example.com/hold"}
	makePod(t, k, f)
	must(pods.Delete(ctx, "held", metav1.DeleteOptions{GracePeriodSeconds: seconds(0)}))
	p, err = pods.Get(ctx, "held", metav1.GetOptions{})
	must(err)
	if p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 0 {
		t.Errorf("%+v", p.ObjectMeta)
	}
	_, err = pods.Patch(ctx, "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	must(err)
	gone("held")

	// A pod that ended goes at once.
	makePod(t, k, aPod("done", "n"))
	_, err = pods.Patch(ctx, "done", types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`), metav1.PatchOptions{}, "status")
	must(err)
	must(pods.Delete(ctx, "done", metav1.DeleteOptions{}))
	gone("done")

	makePod(t, k, aPod("tried", ""))
	must(pods.Delete(ctx, "tried", metav1.DeleteOptions{DryRun: []string{"All"}}))
	if _, err := pods.Get(ctx, "tried", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	makePod(t, k, aPod("other", ""))
	must(pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=tried"}))
	gone("tried")
	if _, err := pods.Get(ctx, "other", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestPropagation(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	maps := c.admin(runtime.ContentTypeJSON).CoreV1().ConfigMaps("default")
	for policy, finalizer := range map[metav1.DeletionPropagation]string{
		metav1.DeletePropagationOrphan: "orphan", metav1.DeletePropagationForeground: "foregroundDeletion",
	} {
		put(t, maps, "m")
		if err := maps.Delete(ctx, "m", metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			t.Fatal(err)
		}
		m, err := maps.Get(ctx, "m", metav1.GetOptions{})
		if err != nil || m.DeletionTimestamp == nil || len(m.Finalizers) != 1 || m.Finalizers[0] != finalizer {
			t.Fatalf("%+v %v", m, err)
		}
		background := metav1.DeletePropagationBackground
		if err := maps.Delete(ctx, "m", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
			t.Fatal(err)
		}
		if _, err := maps.Get(ctx, "m", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
}

func TestNamespaceDeletion(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	spaces := c.admin(runtime.ContentTypeProtobuf).CoreV1().Namespaces()
	if _, err := spaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := spaces.Delete(ctx, "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ns, err := spaces.Get(ctx, "x", metav1.GetOptions{})
	if err != nil || ns.Status.Phase != corev1.NamespaceTerminating || ns.DeletionTimestamp == nil {
		t.Fatalf("%+v %v", ns, err)
	}
	if err := spaces.Delete(ctx, "x", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if again, err := spaces.Get(ctx, "x", metav1.GetOptions{}); err != nil || again.ResourceVersion != ns.ResourceVersion || again.DeletionGracePeriodSeconds != nil {
		t.Errorf("deleted again, it is %+v %v", again, err)
	}
	ns.Spec.Finalizers = nil
	if kept, err := spaces.Update(ctx, ns, metav1.UpdateOptions{}); err != nil || len(kept.Spec.Finalizers) != 1 {
		t.Errorf("the object's own path lets it go: %+v %v", kept, err)
	}
	if _, err := spaces.Finalize(ctx, ns, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := spaces.Get(ctx, "x", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}
