// Package security is a bad neighbour in a running cluster: a holder of forged
// tokens, a node that was taken over, a stranger at the ports, a pod that wants
// out of its container, a user of the machine who looks around. It looks that
// none of them gets further than it should.
package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"clipper/internal/auth"
	"clipper/test/cluster"
)

// world is the cluster that all look at, and its keys.
type world struct {
	*cluster.Cluster
	client kubernetes.Interface
	config *rest.Config
	pki    *auth.PKI
	state  string // the node's folder
}

func TestSecurity(t *testing.T) {
	c := cluster.Start(t)
	c.LoadImages()
	w := &world{Cluster: c, client: c.Client(), config: c.RestConfig(), state: filepath.Join("/var/lib/clipper", c.Name, c.Node())}
	var err error
	if w.pki, err = auth.LoadOrCreate(filepath.Join(w.state, "pki"), clock.RealClock{}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"Tokens", testTokens},
		{"Node", testNode},
		{"Paths", testPaths},
		{"Wire", testWire},
		{"Kubelet", testKubelet},
		{"Container", testContainer},
		{"Volumes", testVolumes},
		{"Arguments", testArguments},
		{"Room", testRoom},
		{"Files", testFiles},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, w) })
	}
}

// caller asks the API with a credential of its own.
type caller struct {
	*http.Client
	host, token string
}

// as returns a caller with a client certificate, or none if user is empty.
func (w *world) as(t *testing.T, user string, groups ...string) *caller {
	t.Helper()
	c := &tls.Config{RootCAs: w.pki.CAPool(), MinVersion: tls.VersionTLS12}
	if user != "" {
		var err error
		if c, err = w.pki.ClientTLS(user, groups...); err != nil {
			t.Fatal(err)
		}
	}
	tr := &http.Transport{TLSClientConfig: c}
	t.Cleanup(tr.CloseIdleConnections)
	return &caller{Client: &http.Client{
		Transport: tr, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, host: w.config.Host}
}

// ask returns the status code of an answer and its body. A path is sent as it
// is written.
func (c *caller) ask(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.host, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(path, "?")
	r.URL.Opaque = "//" + r.URL.Host + path
	r.URL.RawQuery = query
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// start creates a pod and waits until done says so of it.
func (w *world) start(t *testing.T, pod *corev1.Pod, done func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pod.Namespace = "default"
	pods := w.client.CoreV1().Pods("default")
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		if err := pods.Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Error(err)
		}
	})
	watch, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", pod.Name).String()})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	for e := range watch.ResultChan() {
		if p, ok := e.Object.(*corev1.Pod); ok {
			made = p
			if done(p) {
				return p
			}
		}
	}
	t.Fatalf("pod %s does not get there: %+v", pod.Name, made.Status)
	return nil
}

func running(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// log returns what a pod wrote.
func (w *world) log(t *testing.T, pod string) string {
	t.Helper()
	out, err := w.client.CoreV1().Pods("default").GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(out))
}

// shell is a pod that runs a script once.
func shell(name, script string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "c", Image: "busybox:test", Command: []string{"sh", "-c", script}}},
		},
	}
}
