package apiserver_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func aDeployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
}

func TestApply(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	maps := c.admin(runtime.ContentTypeJSON).CoreV1().ConfigMaps("default")
	apply := func(manager, body string, force bool) (*corev1.ConfigMap, error) {
		return maps.Patch(ctx, "m", types.ApplyYAMLPatchType, []byte(body), metav1.PatchOptions{FieldManager: manager, Force: &force})
	}
	const head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"
	m, err := apply("one", head+"data: {a: '1', b: '1'}\n", false)
	if err != nil || m.Data["a"] != "1" || len(m.ManagedFields) != 1 || m.ManagedFields[0].Manager != "one" {
		t.Fatalf("%+v %v", m, err)
	}
	same, err := apply("one", head+"data: {a: '1', b: '1'}\n", false)
	if err != nil || same.ResourceVersion != m.ResourceVersion {
		t.Errorf("applying the same again: %+v %v", same, err)
	}
	if m, err = apply("one", head+"data: {a: '1'}\n", false); err != nil || len(m.Data) != 1 {
		t.Errorf("what is no longer applied goes: %+v %v", m, err)
	}
	_, err = apply("two", head+"data: {a: '2'}\n", false)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "one": .data.a`) {
		t.Error(err)
	}
	if m, err = apply("two", head+"data: {a: '2'}\n", true); err != nil || m.Data["a"] != "2" {
		t.Errorf("%+v %v", m, err)
	}
	m.Data["c"] = "3"
	if m, err = maps.Update(ctx, m, metav1.UpdateOptions{FieldManager: "editor"}); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range m.ManagedFields {
		found = found || f.Manager == "editor" && f.Operation == metav1.ManagedFieldsOperationUpdate
	}
	if !found {
		t.Errorf("%+v", m.ManagedFields)
	}
	if _, err := maps.Patch(ctx, "m", types.ApplyYAMLPatchType, []byte(head), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Error(err)
	}
}

func TestEventsOfTwoGroups(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeProtobuf)
	now := metav1.NowMicro()
	e, err := k.EventsV1().Events("default").Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, EventTime: now, ReportingController: "x", ReportingInstance: "x-1",
		Action: "Doing", Reason: "Did", Type: "Normal", Note: "note", Regarding: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "default"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := k.CoreV1().Events("default").Get(ctx, "e", metav1.GetOptions{})
	if err != nil || o.Message != "note" || o.InvolvedObject.Name != "p" || o.ResourceVersion != e.ResourceVersion {
		t.Errorf("%+v %v", o, err)
	}
	list, err := k.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=p"})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	newer, err := k.EventsV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "regarding.name=p"})
	if err == nil && (len(newer.Items) != 1 || newer.Items[0].Note != "note" || newer.Items[0].Kind != "") {
		t.Errorf("%+v", newer)
	}
}

func TestTokensAndReviews(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeProtobuf)
	sa, err := k.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sa"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := aPod("p", "n")
	p.Spec.ServiceAccountName = "sa"
	p = makePod(t, k, p)
	ref := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: p.UID}
	r, err := k.CoreV1().ServiceAccounts("default").CreateToken(ctx, "sa", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: ref},
	}, metav1.CreateOptions{})
	if err != nil || r.Status.Token == "" || r.Status.ExpirationTimestamp.IsZero() || *r.Spec.ExpirationSeconds != 3600 {
		t.Fatalf("%+v %v", r, err)
	}
	review, err := k.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: r.Status.Token}}, metav1.CreateOptions{})
	if err != nil || !review.Status.Authenticated || review.Status.User.Username != "system:serviceaccount:default:sa" || review.Status.User.UID != string(sa.UID) {
		t.Errorf("%+v %v", review, err)
	}
	if err := k.CoreV1().Pods("default").Delete(ctx, "p", metav1.DeleteOptions{GracePeriodSeconds: seconds(0)}); err != nil {
		t.Fatal(err)
	}
	review, err = k.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: r.Status.Token}}, metav1.CreateOptions{})
	if err != nil || review.Status.Authenticated {
		t.Errorf("a token of a pod that is gone: %+v %v", review, err)
	}
	_, err = k.CoreV1().ServiceAccounts("default").CreateToken(ctx, "sa", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: seconds(5)},
	}, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "may not specify a duration less than 10 minutes") {
		t.Error(err)
	}
	self, err := k.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || self.Status.UserInfo.Username != "admin" {
		t.Errorf("%+v %v", self, err)
	}
	for user, want := range map[string]bool{"bob": false, "alice": true} {
		var groups []string
		if want {
			groups = []string{"system:masters"}
		}
		s, err := k.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, Groups: groups, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"},
		}}, metav1.CreateOptions{})
		if err != nil || s.Status.Allowed != want {
			t.Errorf("%+v %v", s, err)
		}
	}
}
