package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"clipper/internal/auth"
	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// CreateFunc creates an object at a path of the API. The object has its
// apiVersion and kind. Errors are those of a typed client; the answer is dropped.
type CreateFunc func(ctx context.Context, path string, obj runtime.Object) error

// Creator returns a CreateFunc of what InProcess returned, and nil for a
// configuration of another kind. It is for components that create thousands of
// objects a second: a typed client's own work is as much as a third of a write.
func Creator(c *rest.Config) CreateFunc {
	t, ok := c.Transport.(*transport)
	if !ok {
		return nil
	}
	// Header values are shared by all requests; nobody changes them in place.
	contentType, accept, agent := []string{runtime.ContentTypeProtobuf}, []string{c.AcceptContentTypes}, []string{c.UserAgent}
	return func(ctx context.Context, path string, obj runtime.Object) error {
		b := buffers.Get().(*buffer)
		defer b.Close()
		var err error
		if b.data, err = scheme.EncodeProtobuf(b.data, obj); err != nil {
			return err
		}
		w := &whole{answer: answer{header: http.Header{}}, body: buffers.Get().(*buffer)}
		defer w.body.Close()
		r := (&http.Request{
			Method:        http.MethodPost,
			URL:           &url.URL{Path: path},
			Header:        http.Header{"Content-Type": contentType, "Accept": accept, "User-Agent": agent, "Content-Length": {strconv.Itoa(len(b.data))}},
			Body:          io.NopCloser(bytes.NewReader(b.data)),
			ContentLength: int64(len(b.data)),
			Host:          "in-process",
		})
		began := t.began()
		if err := t.call(auth.WithUser(ctx, t.user), w, r); err != nil {
			t.count(r, began, 0, -1)
			return err
		}
		t.count(r, began, w.status, int64(len(w.body.data)))
		if w.status < http.StatusBadRequest {
			return nil
		}
		return failure(w)
	}
}

// failure is the error that an answer tells of.
func failure(w *whole) error {
	var u runtime.Unknown
	var status metav1.Status
	if data, ok := bytes.CutPrefix(w.body.data, []byte("k8s\x00")); ok && u.Unmarshal(data) == nil && u.Kind == "Status" && status.Unmarshal(u.Raw) == nil && status.Status == metav1.StatusFailure {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return apierrors.NewGenericServerResponse(w.status, http.MethodPost, schema.GroupResource{}, "", fmt.Sprintf("%.200q", w.body.data), 0, true)
}
