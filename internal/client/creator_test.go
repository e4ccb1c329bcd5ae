package client

import (
	"context"
	"io"
	"net/http"
	"testing"

	"clipper/internal/auth"
	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func TestCreator(t *testing.T) {
	const path = "/api/v1/namespaces/ns/pods/p/binding"
	var answer func(w http.ResponseWriter)
	create := Creator(InProcess(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := auth.UserFrom(r.Context())
		if u == nil || u.GetName() != "tester" || r.Method != "POST" || r.URL.Path != path || r.RequestURI != path || r.UserAgent() != "agent" {
			t.Errorf("%s %s (%s) of %v by %s", r.Method, r.URL, r.RequestURI, u, r.UserAgent())
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength || r.Header.Get("Content-Type") != runtime.ContentTypeProtobuf {
			t.Errorf("%d bytes of %d, %v, %s", len(body), r.ContentLength, err, r.Header)
		}
		obj, _, err := scheme.New().Decode(body, scheme.Protobuf, corev1.SchemeGroupVersion.WithKind("Binding"), scheme.Strict)
		if b, ok := obj.(*corev1.Binding); err != nil || !ok || b.Target.Name != "n" {
			t.Errorf("%v %v", obj, err)
		}
		answer(w)
	}), tester, "agent"))
	b := &corev1.Binding{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Binding"}, Target: corev1.ObjectReference{Name: "n"}}
	answer = func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) }
	if err := create(t.Context(), path, b); err != nil {
		t.Error(err)
	}
	answer = func(w http.ResponseWriter) {
		status := apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, "p", io.EOF).ErrStatus
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		data, err := scheme.EncodeProtobuf(nil, &status)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(int(status.Code))
		w.Write(data)
	}
	if err := create(t.Context(), path, b); !apierrors.IsConflict(err) || apierrors.ReasonForError(err) != metav1.StatusReasonConflict {
		t.Errorf("a conflict is told as %v", err)
	}
	answer = func(w http.ResponseWriter) { http.Error(w, "later", http.StatusTooManyRequests) }
	if err := create(t.Context(), path, b); !apierrors.IsTooManyRequests(err) {
		t.Errorf("a refusal without a Status is told as %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := create(ctx, path, b); err != context.Canceled {
		t.Errorf("after the end: %v", err)
	}
	if Creator(&rest.Config{Host: "https://example.com"}) != nil {
		t.Error("a client over the network has no direct way")
	}
}
