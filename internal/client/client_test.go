package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"clipper/internal/auth"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
)

var tester = &user.DefaultInfo{Name: "tester"}

func call(t *testing.T, h http.HandlerFunc, method, path, body string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://in-process"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer x")
	return (&transport{handler: h, user: tester}).RoundTrip(r)
}

func TestHandlerSeesTheCaller(t *testing.T) {
	response, err := call(t, func(w http.ResponseWriter, r *http.Request) {
		u, ok := auth.UserFrom(r.Context())
		if !ok || u.GetName() != "tester" {
			t.Errorf("user is %v", u)
		}
		if r.RequestURI != "/api/v1?a=b" || r.Method != "PUT" || r.Host != "in-process" {
			t.Errorf("%s %s of %s", r.Method, r.RequestURI, r.Host)
		}
		r.Header.Del("Authorization") // must not reach the caller's request
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
		w.Write(bytes.ToUpper(body))
	}, "PUT", "/api/v1?a=b", "hello")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if string(body) != "HELLO" || response.StatusCode != http.StatusTeapot || response.Header.Get("X-Answer") != "yes" || response.ContentLength != 5 {
		t.Errorf("answer is %d %q %v", response.StatusCode, body, response.Header)
	}
	if response.Request.Header.Get("Authorization") == "" {
		t.Error("the handler changed the caller's request")
	}
	// The buffer is someone else's by now.
	if n, err := response.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after close: %d, %v", n, err)
	}
}

func TestHandlerAborts(t *testing.T) {
	if _, err := call(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "GET", "/", ""); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v", err)
	}
}

func TestStreamIsReadAsItIsWritten(t *testing.T) {
	next := make(chan string)
	ended := make(chan error, 1)
	response, err := call(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for {
			select {
			case line := <-next:
				fmt.Fprintln(w, line)
			case <-r.Context().Done():
				ended <- r.Context().Err()
				return
			}
		}
	}, "GET", "/x?watch=true", "")
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	for _, line := range []string{"one", "two"} {
		next <- line
		n, err := response.Body.Read(buffer)
		if err != nil || string(buffer[:n]) != line+"\n" {
			t.Fatalf("read %q, %v", buffer[:n], err)
		}
	}
	response.Body.Close()
	if err := <-ended; err == nil {
		t.Error("handler goes on after the body was closed")
	}
	if _, err := response.Body.Read(buffer); err == nil {
		t.Error("a closed body can be read")
	}
}

func TestStreamEnds(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 3*pipeMost)
	response, err := call(t, func(w http.ResponseWriter, r *http.Request) { w.Write(large) }, "GET", "/x?follow=1", "")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || len(body) != len(large) {
		t.Errorf("read %d bytes, %v", len(body), err)
	}
}

// A reader that never comes does not hold the handler forever.
func TestStreamIsBounded(t *testing.T) {
	ended := make(chan error, 1)
	response, err := call(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1024)); err != nil {
				ended <- err
				return
			}
		}
	}, "GET", "/x?watch=1", "")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	<-ended
}

func TestStreamIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://in-process/x?watch=1", nil)
	began := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})
	go func() { <-began; cancel() }()
	if _, err := (&transport{handler: h, user: tester}).RoundTrip(r); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// configMapHandler answers as an API server would, in JSON.
func configMapHandler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(&corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]},
	})
}

func TestTypedClient(t *testing.T) {
	k, err := New(InProcess(http.HandlerFunc(configMapHandler), tester, "tests"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.CoreV1().ConfigMaps("default").Get(t.Context(), "some", metav1.GetOptions{})
	if err != nil || got.Name != "some" {
		t.Errorf("%v, %v", got, err)
	}
}

// The kubeconfig and the certificates work together over a real socket, with
// HTTP/2 and as the user that the certificate names.
func TestOverTheNetwork(t *testing.T) {
	pki, err := auth.LoadOrCreate("", clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	serving, err := pki.ServingTLS("kube-apiserver", auth.APIServerNames("cluster.local")...)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 2)
	server := &http.Server{TLSConfig: serving, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- fmt.Sprint(r.Proto, " ", r.TLS.PeerCertificates[0].Subject.CommonName, " ", r.Header.Get("Accept"), " ", r.UserAgent())
		configMapHandler(w, r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); server.ServeTLS(listener, "", "") }()
	defer func() { server.Close(); <-done }()

	own, err := pki.ClientTLS("system:kube-scheduler")
	if err != nil {
		t.Fatal(err)
	}
	remote := Remote(listener.Addr().String(), own, "agent")
	pair, err := pki.ClientCert(auth.Admin, auth.Masters)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := auth.EncodePair(pair)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Kubeconfig("clipper", "https://"+listener.Addr().String(), pki.CABundle(), cert, key)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]*rest.Config{
		"HTTP/2.0 system:kube-scheduler application/vnd.kubernetes.protobuf,application/json agent": remote,
		"HTTP/2.0 kubernetes-admin application/vnd.kubernetes.protobuf,application/json admin":      configure(admin, "admin"),
	} {
		k, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.CoreV1().ConfigMaps("default").Get(t.Context(), "some", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != want {
			t.Errorf("server saw %q, want %q", got, want)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	answer := []byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"some"}}`)
	tr := &transport{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	}), user: tester}
	r, _ := http.NewRequest("GET", "http://in-process/api/v1/namespaces/default/configmaps/some", nil)
	r.Header.Set("Accept", "application/json")
	b.ReportAllocs()
	for b.Loop() {
		response, err := tr.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		response.Body.Close()
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(InProcess(http.HandlerFunc(configMapHandler), tester, "tests")); err != nil {
			b.Fatal(err)
		}
	}
}
