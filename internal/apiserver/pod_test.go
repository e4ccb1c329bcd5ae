package apiserver_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPodStatusAndSpec(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeProtobuf)
	pods := k.CoreV1().Pods("default")
	p := aPod("p", "")
	p.Status.Phase = corev1.PodRunning // not the user's to say
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}
	p = makePod(t, k, p)
	if p.Status.Phase != corev1.PodPending || p.Status.QOSClass != corev1.PodQOSGuaranteed || p.Generation != 1 {
		t.Errorf("%+v", p)
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.PodIP = "10.0.0.1"
	p.Spec.Containers[0].Image = "other"
	s, err := pods.UpdateStatus(ctx, p, metav1.UpdateOptions{})
	if err != nil || s.Status.Phase != corev1.PodRunning || s.Spec.Containers[0].Image != "i" || s.Status.PodIPs[0].IP != "10.0.0.1" ||
		s.Status.QOSClass != corev1.PodQOSGuaranteed || s.Generation != 1 {
		t.Errorf("%+v %v", s, err)
	}
	s.Spec.Containers[0].Image = "other"
	s.Status.Phase = corev1.PodFailed
	u, err := pods.Update(ctx, s, metav1.UpdateOptions{})
	if err != nil || u.Status.Phase != corev1.PodRunning || u.Spec.Containers[0].Image != "other" || u.Generation != 2 {
		t.Errorf("%+v %v", u, err)
	}
	u.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "i"}}}
	u.Labels = nil
	e, err := pods.UpdateEphemeralContainers(ctx, "p", u, metav1.UpdateOptions{})
	if err != nil || len(e.Spec.EphemeralContainers) != 1 || len(e.Labels) != 1 {
		t.Errorf("%+v %v", e, err)
	}
}

func TestBinding(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeProtobuf)
	pods := k.CoreV1().Pods("default")
	p := makePod(t, k, aPod("p", ""))
	bind := func(node string) error {
		return pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: "p", UID: p.UID, Annotations: map[string]string{"by": "me"}},
			Target:     corev1.ObjectReference{Kind: "Node", Name: node},
		}, metav1.CreateOptions{})
	}
	if err := bind("n"); err != nil {
		t.Fatal(err)
	}
	got, err := pods.Get(ctx, "p", metav1.GetOptions{})
	if err != nil || got.Spec.NodeName != "n" || got.Annotations["by"] != "me" || len(got.Status.Conditions) != 1 ||
		got.Status.Conditions[0].Type != corev1.PodScheduled || got.Status.Conditions[0].Status != corev1.ConditionTrue {
		t.Errorf("%+v %v", got, err)
	}
	err = bind("m")
	if want := `Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"`; !apierrors.IsConflict(err) || err.Error() != want {
		t.Error(err)
	}
	list, err := pods.List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n"})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%v %v", list, err)
	}
}

func TestEviction(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeJSON)
	pods, budgets := k.CoreV1().Pods("default"), k.PolicyV1().PodDisruptionBudgets("default")
	for i := range 3 {
		p := aPod(fmt.Sprint("p", i), "n")
		p.Labels = map[string]string{"app": "a"}
		p = makePod(t, k, p)
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		if _, err := pods.UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	two := intstr.FromInt32(2)
	b, err := budgets.Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "b"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	evict := func(name string) error {
		return pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	refused := func(err error, cause string) {
		t.Helper()
		if !apierrors.IsTooManyRequests(err) || err.Error() != "Cannot evict pod as it would violate the pod's disruption budget." {
			t.Fatal(err)
		}
		c, ok := apierrors.StatusCause(err, policyv1.DisruptionBudgetCause)
		if !ok || c.Message != cause {
			t.Errorf("%+v", c)
		}
	}
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: b.Generation, DisruptionsAllowed: 1, DesiredHealthy: 2, CurrentHealthy: 3, ExpectedPods: 3}
	if b, err = budgets.UpdateStatus(ctx, b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := evict("p0"); err != nil {
		t.Fatal(err)
	}
	if p, err := pods.Get(ctx, "p0", metav1.GetOptions{}); err != nil || p.DeletionTimestamp == nil {
		t.Errorf("%+v %v", p, err)
	}
	if b, err = budgets.Get(ctx, "b", metav1.GetOptions{}); err != nil || b.Status.DisruptionsAllowed != 0 || len(b.Status.DisruptedPods) != 1 {
		t.Errorf("%+v %v", b, err)
	}
	refused(evict("p1"), "The disruption budget b needs 2 healthy pods and has 3 currently")
	if p, err := pods.Get(ctx, "p1", metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil {
		t.Errorf("%+v %v", p, err)
	}
}

func TestScale(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	for name, media := range mediaTypes {
		t.Run(name, func(t *testing.T) {
			apps := c.admin(media).AppsV1().Deployments("default")
			d := aDeployment(name)
			d, err := apps.Create(ctx, d, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if d.Generation != 1 || *d.Spec.Replicas != 1 {
				t.Errorf("%+v", d)
			}
			s, err := apps.GetScale(ctx, name, metav1.GetOptions{})
			if err != nil || s.Spec.Replicas != 1 || s.Status.Selector != "app="+name || s.UID != d.UID {
				t.Fatalf("%+v %v", s, err)
			}
			s.Spec.Replicas = 5
			if s, err = apps.UpdateScale(ctx, name, s, metav1.UpdateOptions{}); err != nil || s.Spec.Replicas != 5 {
				t.Fatalf("%+v %v", s, err)
			}
			// kubectl scale patches.
			d, err = apps.Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}, "scale")
			if err != nil {
				t.Fatal(err)
			}
			d, err = apps.Get(ctx, name, metav1.GetOptions{})
			if err != nil || *d.Spec.Replicas != 3 || d.Generation != 3 {
				t.Errorf("%+v %v", d, err)
			}
		})
	}
}
