package connect

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// log passes a container's log on as the kubelet reads it.
func (k *Connector) log(w http.ResponseWriter, r *http.Request, c *Request) error {
	pod, err := k.pod(c)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	ask, err := logOptions(pod.Name, query)
	if err != nil {
		return err
	}
	name, err := container(pod, query.Get("container"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if pod.Spec.NodeName == "" {
		// Nothing runs, so nothing was written.
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	l, err := k.host(pod)
	if err != nil {
		return err
	}
	out, err := http.NewRequestWithContext(at(ctx, l), http.MethodGet, "/", nil)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	out.URL = l.url("/containerLogs/"+podPath(pod)+"/"+name, ask)
	out.Host = out.URL.Host
	response, err := k.kubelets.RoundTrip(out)
	if err != nil {
		if r.Context().Err() != nil {
			return nil // nobody is there to be told
		}
		return unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 206 {
		return refusal(response, pods, pod.Name)
	}
	return k.tell(w, r, response.Body, cancel)
}

// tell sends a log as text, or in the messages of a WebSocket if the client
// asks for one; gone ends the log's source when that client has left.
func (k *Connector) tell(w http.ResponseWriter, r *http.Request, body io.Reader, gone func()) error {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusOK)
		pour(w, body)
		return nil
	}
	return k.pourMessages(w, r, body, gone)
}

// pour copies what comes, at once.
func pour(w http.ResponseWriter, body io.Reader) {
	flush := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return
			}
			flush.Flush()
		}
		if err != nil {
			// The status has been sent: the end of the stream is all that can
			// be told.
			return
		}
	}
}

// logOptions checks a client's PodLogOptions and returns the kubelet's.
func logOptions(pod string, query url.Values) (url.Values, error) {
	ask := url.Values{}
	var wrong field.ErrorList
	for _, name := range []string{"follow", "previous", "timestamps"} {
		if truth(query[name]) {
			ask.Set(name, "true")
		}
	}
	for _, n := range []struct {
		name    string
		least   int64
		because string
	}{
		{"sinceSeconds", 1, "must be greater than 0"},
		{"tailLines", 0, "must be greater than or equal to 0"},
		{"limitBytes", 1, "must be greater than 0"},
	} {
		text := query.Get(n.name)
		if text == "" {
			continue
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, apierrors.NewBadRequest(n.name + ": " + err.Error())
		}
		if value < n.least {
			wrong = append(wrong, field.Invalid(field.NewPath(n.name), value, n.because))
		}
		ask.Set(n.name, strconv.FormatInt(value, 10))
	}
	if text := query.Get("sinceTime"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, apierrors.NewBadRequest("sinceTime: " + err.Error())
		}
		if ask.Has("sinceSeconds") {
			wrong = append(wrong, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
		}
		ask.Set("sinceTime", metav1.NewTime(since).UTC().Format(time.RFC3339))
	}
	switch stream := query.Get("stream"); stream {
	case "", corev1.LogStreamAll:
	case corev1.LogStreamStdout, corev1.LogStreamStderr:
		if ask.Has("tailLines") {
			wrong = append(wrong, field.Forbidden(field.NewPath(""), "`tailLines` and specific `stream` are mutually exclusive for now"))
		}
		ask.Set("stream", stream)
	default:
		wrong = append(wrong, field.NotSupported(field.NewPath("stream"), stream, []string{corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr}))
	}
	if len(wrong) > 0 {
		return nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("PodLogOptions").GroupKind(), pod, wrong)
	}
	return ask, nil
}
