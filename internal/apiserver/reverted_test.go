package apiserver_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"clipper/internal/admission"
	"clipper/internal/apiserver"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
)

// fixed is a plugin that knows better what a label says.
type fixed struct{}

func (fixed) Name() string { return "Fixed" }

func (fixed) Admit(_ context.Context, a *admission.Attributes) error {
	if m, ok := a.Object.(*corev1.ConfigMap); ok && m.Labels["fixed"] != "" {
		m.Labels["fixed"] = "yes"
	}
	return nil
}

func TestRevertedIsNoChange(t *testing.T) {
	clock := testclock.NewFakeClock(time.Unix(1_700_000_000, 0))
	c := start(t, func(c *apiserver.Config) {
		c.Clock, c.Admission = clock, admission.NewChain(clock, admission.On{Plugin: fixed{}})
	})
	ctx := t.Context()
	maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
	first, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m", Labels: map[string]string{"fixed": "yes"}}}, metav1.CreateOptions{FieldManager: "a"})
	if err != nil {
		t.Fatal(err)
	}
	clock.Step(time.Hour)
	patch := func(manager, body string) *corev1.ConfigMap {
		m, err := maps.Patch(ctx, "m", types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: manager})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := patch("a", `{"metadata":{"labels":{"fixed":"no"}}}`); !reflect.DeepEqual(m, first) {
		t.Errorf("a write that was taken back made %+v of %+v", m, first)
	}
	m := patch("a", `{"metadata":{"labels":{"fixed":"nay"}},"data":{"a":"b"}}`)
	if m.ResourceVersion == first.ResourceVersion || m.Data["a"] != "b" || !m.ManagedFields[0].Time.Time.Equal(clock.Now()) {
		t.Errorf("what was not taken back is lost: %+v", m)
	}
	if n := patch("b", `{"metadata":{"labels":{"fixed":"no"}}}`); n.ResourceVersion == m.ResourceVersion || len(n.ManagedFields) != 2 {
		t.Errorf("who wrote last is not told: %+v", n)
	}
}

func TestIdentityStays(t *testing.T) {
	c := start(t)
	maps := c.admin(runtime.ContentTypeJSON).CoreV1().ConfigMaps("default")
	m, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Patch(t.Context(), "m", types.MergePatchType, []byte(`{"metadata":{"uid":"x"}}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a patch of the identity: %v", err)
	}
	m.UID = "x"
	if _, err := maps.Update(t.Context(), m, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of another identity: %v", err)
	}
}

// What is answered is what a server would read from the store.
func TestEmptyListsAreNone(t *testing.T) {
	c := start(t)
	roles := c.admin(runtime.ContentTypeJSON).RbacV1().Roles("default")
	r, err := roles.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: []rbacv1.PolicyRule{}}, metav1.CreateOptions{})
	if err != nil || r.Rules != nil {
		t.Errorf("%+v, %v", r, err)
	}
}
